"""Discord's permission algorithm and the hierarchy."""

import pytest

from modbot.domain import permissions
from modbot.domain.ids import GuildId, RoleId, UserId
from modbot.domain.permissions import ALL, OverwriteFacts, Permission, RoleFacts, Standing

GUILD, OWNER, USER = GuildId(1), UserId(10), UserId(11)
ROLES = {
    RoleId(n): RoleFacts(RoleId(n), position, bits)
    for n, position, bits in ((1, 0, 1 << 10), (2, 1, 1 << 11), (3, 2, 1 << 3), (4, 2, 0))
}


def base(user, *held):
    return permissions.base_permissions(GUILD, OWNER, user, held, ROLES)


def test_base():
    assert base(OWNER) == ALL
    assert base(USER) == 1 << 10
    assert base(USER, RoleId(2), RoleId(99)) == (1 << 10) | (1 << 11)
    assert base(USER, RoleId(3)) == ALL


@pytest.mark.parametrize(
    ("overwrites", "expected"),
    [
        ([], 0b0110),
        ([(1, False, 0b1000, 0b0010)], 0b1100),
        ([(1, False, 0, 0b0110), (2, False, 0b0010, 0)], 0b0010),
        ([(2, False, 0, 0b0010), (4, False, 0b0010, 0)], 0b0110),
        ([(11, True, 0, 0b0100), (2, False, 0b0100, 0)], 0b0010),
        ([(11, False, 0, 0b0110), (2, True, 0, 0b0110), (9, False, 0, 0b0110)], 0b0110),
    ],
)
def test_overwrites_apply_in_discords_order(overwrites, expected):
    facts = (OverwriteFacts(*each) for each in overwrites)
    held = (each for each in (RoleId(2), RoleId(4)))
    assert permissions.channel_permissions(0b0110, GUILD, USER, held, facts) == expected


def test_administrators_are_not_denied_anything():
    facts = [OverwriteFacts(1, is_member=False, allow=0, deny=ALL)]
    assert permissions.channel_permissions(Permission.ADMINISTRATOR, GUILD, USER, (), facts) == ALL


def test_missing_permissions_are_named_in_discords_words():
    wanted = (Permission.VIEW_CHANNEL, Permission.BAN_MEMBERS)
    assert permissions.missing(Permission.VIEW_CHANNEL, wanted) == ["Ban Members"]


def objection(actor, target):
    bot = Standing(UserId(9), (RoleId(3),))
    return permissions.objection(actor=actor, target=target, bot=bot, owner_id=OWNER, roles=ROLES)


def test_hierarchy():
    mod, member = Standing(USER, (RoleId(2),)), Standing(UserId(12), ())
    assert objection(mod, member) is None
    assert objection(mod, Standing(UserId(12), (RoleId(2),))) == "Their highest role is not below yours."
    assert objection(Standing(OWNER, ()), Standing(UserId(12), (RoleId(2),))) is None
    assert "not below mine" in objection(Standing(OWNER, ()), Standing(UserId(12), (RoleId(4),)))
    assert "owner" in objection(mod, Standing(OWNER, ()))
    assert "yourself" in objection(mod, mod)
    assert "myself" in objection(mod, Standing(UserId(9), ()))
