"""What a handler may ask for: the services, and who calls."""

from fastapi import Request

from runyard_server.services.container import Services


def services(request: Request) -> Services:
    """The services that the application was built with."""
    held: Services = request.app.state.services
    return held


def caller(request: Request) -> str:
    """Name of who calls, for the records: "user" or "run <id>"."""
    return str(request.state.caller)
