"""The table in docs/adding-an-executor.md is that of the contract as it is now, and says that all of it holds."""

from tools import contract_table as contract


def test_each_test_of_the_contract_has_its_row_and_holds_on_every_engine_that_it_is_asked_of():
    # Whether it does is seen by those tests themselves, which run where this one does.
    assert contract.PAGE.written() == contract.table(failed=set()), "Run `make contract ARGS=--write`."


def test_engines_with_a_queue_are_asked_all_and_this_machine_all_but_what_a_queue_does():
    known = contract.contract()
    everything = {test for part in known.values() for test in part["tests"]}
    assert len(everything) > 20
    assert contract.asked_of("Slurm") == contract.asked_of("Ray") == everything
    assert everything - contract.asked_of("local") == set(known["QueueContract"]["tests"])
