"""The same script as a Metaflow flow: its first statement is the first one of the step ``start``."""

import time

from metaflow import FlowSpec, Parameter, step


class FirstLineFlow(FlowSpec):
    moment = Parameter("moment")

    @step
    def start(self) -> None:
        now = time.time()
        with open(self.moment, "w") as moment:
            moment.write(repr(now))
        self.next(self.end)

    @step
    def end(self) -> None:
        pass


if __name__ == "__main__":
    FirstLineFlow()
