// Looks again at a page with parts that change: every few seconds, and where the server tells of news, soon after these.

import { fetchPage, remember, replaceParts } from "./parts.js";

const NEWS_MS = 1000; // between two questions for news, which cost the server next to nothing,
const SHARE = 5; // and so many times as long as the last look took

remember();

const part = () => document.querySelector("[data-refresh]");
let looked = Date.now();
let took = 0;

async function isDue() {
  const since = Date.now() - looked;
  if (since >= 1000 * Number(part().dataset.refresh)) return true;
  const news = document.querySelector("[data-news]");
  if (!news || since < SHARE * took) return false;
  try {
    const answer = await fetch(news.dataset.news);
    return answer.ok && (await answer.text()) !== news.dataset.mark;
  } catch {
    return false; // the server is away; the next turn asks again
  }
}

async function turn() {
  if (!document.hidden && (await isDue())) {
    looked = Date.now();
    const page = await fetchPage(location.href);
    took = Date.now() - looked;
    if (page) replaceParts(page);
  }
  if (part()) setTimeout(turn, NEWS_MS);
}

if (part()) setTimeout(turn, NEWS_MS);
