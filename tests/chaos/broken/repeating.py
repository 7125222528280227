"""It carries out each effect under two keys, as one does whose keys come from chance (against I5)."""

import sys

from chaos import gateway, notes
from modbot.shard import calls


async def post(run, note):
    for number in range(2):
        await run.request(f"post {number}", calls.send_message(note.channel_id, {"content": note.text}))


if __name__ == "__main__":
    object.__setattr__(notes.post, "body", post)
    sys.exit(gateway.run())
