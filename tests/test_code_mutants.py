"""The mutants of code_mutants.py are faults of the code as it is now; `make mutants` runs them."""

from __future__ import annotations

import pytest

from .code_mutants import MUTANTS, CodeMutant, places_of
from .environment import ROOT

pytestmark = pytest.mark.no_database


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_is_a_change_of_one_place(mutant: CodeMutant) -> None:
    assert len(places_of(mutant)) == 1
    assert all((ROOT / test).exists() for test in mutant.tests)
    assert mutant.old != mutant.new
