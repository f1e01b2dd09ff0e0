"""Which structures are in which batch."""

import numpy as np
import pytest

from synthzoo.errors import InputError
from synthzoo.training.batches import AtomBatches, MixedBatches, share_out


def test_batches_hold_every_structure_once():
    """An epoch is a partition; no batch is empty, and sizes stay near the target."""
    sizes = np.random.default_rng(1).integers(1, 65, size=500)
    batches = AtomBatches(sizes.tolist(), 96, seed=4)
    found = list(batches)
    assert sorted(index for batch in found for index in batch) == list(range(500))
    assert len(found) == len(batches)
    atoms = [sizes[batch].sum() for batch in found]
    assert min(atoms) > 0
    assert max(atoms) <= 96 * 1.1 + 64


def test_batches_change_with_the_epoch_and_repeat_with_the_seed():
    """A resumed epoch has the batches of the undisturbed one."""

    def epoch(number: int) -> list[list[int]]:
        batches = AtomBatches([8] * 50, 40, seed=4)
        batches.set_epoch(number)
        return list(batches)

    assert epoch(3) == epoch(3)
    assert epoch(3) != epoch(4)


def test_one_structure_larger_than_a_batch_is_a_batch():
    """The largest structure sets the width, so that none is cut or lost."""
    found = list(AtomBatches([200, 8, 8], 96, seed=0))
    assert sorted(index for batch in found for index in batch) == [0, 1, 2]


def test_replayed_structures_are_mixed_into_every_batch():
    """The first set is a partition; the second is gone through again and again."""
    batches = MixedBatches([10] * 12, 40, 3, mixed=[([5] * 7, 0.2)])
    seen, replayed = [], []
    for epoch in range(7):
        batches.set_epoch(epoch)
        found = list(batches)
        assert len(found) == len(batches) == 3
        seen.append(sorted(index for batch in found for index in batch if index < 12))
        for batch in found:
            mixed = [index for index in batch if index >= 12]
            assert len(mixed) == 2  # 10 of 50 atoms
            replayed += mixed
    assert seen == [list(range(12))] * 7
    assert sorted(replayed) == sorted([*range(12, 19)] * 6)
    again = MixedBatches([10] * 12, 40, 3, mixed=[([5] * 7, 0.2)])
    again.set_epoch(6)
    assert list(again) == found


def test_a_small_share_of_replay_leaves_batches_without_it():
    """One structure of 20 atoms goes with 180 others: that is every fourth batch."""
    batches = MixedBatches([10] * 18, 45, 3, mixed=[([20] * 3, 0.1)])
    replayed = []
    for epoch in range(3):
        batches.set_epoch(epoch)
        mixed = [[index for index in batch if index >= 18] for batch in batches]
        assert sorted(map(len, mixed)) == [0, 0, 0, 1]
        replayed += [index for batch in mixed for index in batch]
    assert sorted(replayed) == [18, 19, 20]


def test_shares_are_a_partition_of_about_the_same_size():
    """Nothing is lost or doubled, and no share is much heavier than another."""
    sizes = np.random.default_rng(1).integers(1, 65, size=40).tolist()
    shares = share_out(range(40), sizes, 4)
    assert sorted(index for share in shares for index in share) == list(range(40))
    atoms = [sum(sizes[index] for index in share) for share in shares]
    assert max(atoms) - min(atoms) <= max(sizes)


def test_a_batch_that_is_too_small_to_share_is_refused():
    """The message says what to do."""
    with pytest.raises(InputError, match="Use fewer devices, or give more structures"):
        share_out([0, 1], [8, 8], 3)


def test_batches_for_several_processes_have_a_structure_for_each():
    """However small the batch that is asked for, and in every epoch."""
    sizes = np.random.default_rng(2).integers(1, 65, size=200).tolist()
    batches = AtomBatches(sizes, 16, seed=0, shares=4)
    for epoch in range(5):
        batches.set_epoch(epoch)
        found = list(batches)
        assert min(map(len, found)) >= 4
        assert sum(map(len, found)) == 200


def _one_by_one(batches: AtomBatches) -> list[list[int]]:
    """Return the batches as they are defined, with a look at all for each."""
    rng = np.random.default_rng((batches.seed, batches.epoch))
    order = rng.permutation(len(batches.sizes))
    ends = np.cumsum(batches.sizes[order])
    middles = ends - batches.sizes[order] / 2
    batch = np.floor(middles * batches.count / ends[-1]).astype(int)
    return [order[batch == index].tolist() for index in range(batches.count)]


@pytest.mark.parametrize("epoch", range(3))
@pytest.mark.parametrize("count", [1, 7, 500])
def test_batches_are_those_of_earlier_versions(count: int, epoch: int):
    """A run that was begun with one version goes on with the same batches."""
    sizes = np.random.default_rng(count).integers(1, 200, size=count)
    batches = AtomBatches(sizes.tolist(), 96, seed=4)
    batches.set_epoch(epoch)
    assert list(batches) == _one_by_one(batches)


def test_batches_of_a_large_set_come_at_once():
    """Their number times that of the structures would be 10¹⁰."""
    found = list(AtomBatches([48] * 200_000, 96, seed=0))
    assert (len(found), sum(map(len, found))) == (100_000, 200_000)


def test_each_pass_over_replayed_structures_is_ordered_once(
    monkeypatch: pytest.MonkeyPatch,
):
    """The order is that of earlier versions, which made it for each structure."""
    batches = MixedBatches([10] * 12, 40, 5, mixed=[([5] * 7, 0.2)])
    orders = [np.random.default_rng((5, n, 1)).permutation(7) for n in range(2)]
    made: list[tuple[int, ...]] = []
    default_rng = np.random.default_rng

    def recorded(seed: tuple[int, ...]) -> np.random.Generator:
        made.append(seed)
        return default_rng(seed)

    monkeypatch.setattr(np.random, "default_rng", recorded)
    mixed = []
    for epoch in range(2):
        batches.set_epoch(epoch)
        mixed += [index - 12 for batch in batches for index in batch if index >= 12]
    assert mixed == np.concatenate(orders)[:12].tolist()
    assert [seed for seed in made if len(seed) == 3] == [(5, 0, 1), (5, 1, 1)]
