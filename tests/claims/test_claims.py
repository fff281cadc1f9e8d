"""The claims' machinery, and the short form of each claim."""

from tests.claims.claim import Claim
from tests.claims.s13_cavi_gibbs import race


def test_verdict_follows_from_the_numbers():
    """Catches a verdict that is written rather than computed."""
    common = ("S0", "statement", "setting", ["a"], [["1"]])
    assert Claim(*common, conditions=[("x", True), ("y", True)]).shown
    failed = Claim(*common, conditions=[("x", True), ("y", False)])
    assert not failed.shown and "NOT shown" in str(failed) and "FAILS  y" in str(failed)
    assert not Claim(*common, conditions=[]).shown, "nothing measured, nothing shown"


def test_cavi_is_nearer_early_and_its_spread_is_wrong():
    """Catches a race run on the wrong posterior: the claim on one data set, and its price."""
    result = race(0, (10, 30, 100, 2000))
    assert all(result.nearer()[:3])
    assert not result.nearer()[3], "in the end Gibbs wins"
    assert max(result.cavi_sd) < 0.9
    assert min(result.gibbs_sd[-1]) > 0.9
