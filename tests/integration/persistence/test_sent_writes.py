"""What a rate budget counts again after Redis was wiped."""

from tests.harness.records import World


async def test_writes_claimed_within_the_time_are_told_with_their_age_newest_first(world: World) -> None:
    old, recent, _ = [await world.save(world.new_order(name)) for name in ("old", "recent", "waiting")]
    await world.claim(old)
    await world.claim(recent)
    ages = {old.command_id: 4000, recent.command_id: 60}
    for command_id, seconds in ages.items():
        await world.execute(
            "UPDATE order_commands SET claimed_at = clock_timestamp() - make_interval(secs => :ago) WHERE id = :id",
            {"ago": seconds, "id": command_id},
        )
    other = await world.second_account()
    async with world.uow.statement() as tx:
        within_the_hour = await tx.sent_writes.within(world.account.id, 3601.0)
        ever = await tx.sent_writes.within(world.account.id, 10_000.0)
        assert await tx.sent_writes.within(other.id, 10_000.0) == []
    assert [write.name for write in within_the_hour] == [f"{recent.command_id}:1"]
    assert 60 <= within_the_hour[0].age_s < 62
    assert [write.name for write in ever] == [f"{recent.command_id}:1", f"{old.command_id}:1"]
