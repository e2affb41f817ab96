"""MLflow's REST API in front of our services, so that any MLflow client tracks here: words and routes of that wire."""
