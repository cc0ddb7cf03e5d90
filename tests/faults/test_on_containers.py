"""What a seed does to containers is decided beforehand, and shows every kind of fault."""

from tests.faults.on_containers import schedule_of


def test_a_seed_repeats_its_faults() -> None:
    assert schedule_of(7, 9) == schedule_of(7, 9)
    assert len({tuple(schedule_of(seed, 5)) for seed in range(20)}) > 10


def test_five_faults_are_of_every_kind_and_hit_services_and_servers() -> None:
    for seed in range(20):
        schedule = schedule_of(seed, 5)
        assert {fault for fault, _ in schedule} == {"kill", "restart", "pause", "disconnect"}
        struck = {service for _, service in schedule}
        assert struck & {"kafka", "postgres"}
        assert struck & {"order", "inventory", "payment", "gateway"}
