"""Interactions: ids, modal fields, secrets."""

import pytest

from modbot.discord import interactions
from modbot.domain.errors import InvalidInputError


def test_message_command_gives_its_target_and_invoker():
    body = b"""{"id":"1","type":2,"token":"tok-secret","application_id":"9","guild_id":"5","locale":"de",
      "member":{"user":{"id":"7"},"roles":["3"],"permissions":"8"},
      "data":{"id":"2","name":"Report","type":3,"target_id":"44",
              "resolved":{"messages":{"44":{"id":"44","channel_id":"6","content":"null"}}}}}"""
    found = interactions.decode(body)
    assert (found.id, found.guild_id, found.invoker.id, found.member.permissions) == (1, 5, 7, 8)
    assert found.data.resolved.messages[44].text == "null"
    assert "tok-secret" not in repr(found)
    assert "tok-secret" not in f"{found}"


def test_modal_fields_are_found_in_rows_and_labels():
    body = b"""{"id":"1","type":5,"token":"t","user":{"id":"7"},"data":{"custom_id":"m","components":[
      {"type":1,"components":[{"type":4,"custom_id":"why","value":"123"}]},
      {"type":18,"component":{"type":3,"custom_id":"kind","values":["spam"]}}]}}"""
    found = interactions.decode(body)
    fields = found.data.fields()
    assert fields["why"].value == "123"
    assert fields["kind"].values == ("spam",)
    assert found.invoker.id == 7


def test_option_values_keep_their_own_type():
    body = b"""{"id":"1","type":2,"data":{"name":"c","options":[{"name":"s","type":1,"options":[
      {"name":"user","type":6,"value":"123"},{"name":"n","type":4,"value":5},{"name":"b","type":5,"value":true}]}]}}"""
    options = interactions.decode(body).data.options[0].options
    assert [each.value for each in options] == ["123", 5, True]


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"id":"x","type":1}'])
def test_bad_body_is_invalid_input(body):
    with pytest.raises(InvalidInputError):
        interactions.decode(body)
