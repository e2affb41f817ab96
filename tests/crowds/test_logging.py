"""Fifty runs that log at once, and twenty clients that follow one log."""

from tests.crowds.crowd import Crowd

LINES = 3000


def test_fifty_runs_that_log_at_once_lose_nothing(crowd: Crowd) -> None:
    saw = crowd.does("log_metrics", [{"runs": 10, "points": 500}] * 5)
    ids = [run_id for ids in saw for run_id in ids]
    assert len(set(ids)) == 50
    for run_id in ids:
        run = crowd.run(run_id)
        assert run.get_status() == "Completed"
        metrics = run.get_metrics()
        assert metrics["number"] == list(range(500))
        assert metrics["square"] == [float(number) ** 2 for number in range(500)]
        assert run.verify()["ok"]
    assert crowd.complaints() == ""


def test_twenty_followers_of_a_log_each_see_every_byte_once(crowd: Crowd) -> None:
    log = "azureml-logs/70_driver_log.txt"
    run = crowd.submit(
        f"for number in range({LINES}):\n    print('line', number, flush=number % 100 == 0)\n", crowd.target("log", 1)
    )
    saw = crowd.does("follow", [{"run_id": run.id, "log": log, "followers": 5}] * 4)
    whole = "".join(f"line {number}\n" for number in range(LINES))
    assert [seen for client in saw for seen in client] == [[whole, "Completed"]] * 20
    assert crowd.complaints() == ""
