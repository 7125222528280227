"""The consent page: choose who you are and agree, or cancel. Plain HTML, everything escaped."""

import html
from collections.abc import Mapping

from discordsim.world.model.users import Application, User

_STYLE = """
body{margin:0;min-height:100vh;display:grid;place-items:center;background:#1e1f22;color:#dbdee1;font:16px/1.5 system-ui,sans-serif}
main{background:#2b2d31;border-radius:12px;padding:28px;width:min(92vw,420px);box-shadow:0 8px 30px #0006}
h1{font-size:20px;margin:0 0 4px}p{color:#b5bac1;margin:0 0 16px}li{margin:2px 0}
select,button{font:inherit;width:100%;padding:10px;border-radius:6px;border:1px solid #1e1f22;margin-top:8px}
select{background:#1e1f22;color:inherit}button{border:0;cursor:pointer;background:#5865f2;color:#fff;font-weight:600}
button.plain{background:#4e5058}:focus-visible{outline:2px solid #00a8fc;outline-offset:2px}
"""


def consent(application: Application, people: list[User], scopes: tuple[str, ...], query: Mapping[str, str]) -> str:
    """Return the page; the query is carried along in hidden fields."""
    hidden = "".join(
        f'<input type="hidden" name="{html.escape(key)}" value="{html.escape(value)}">' for key, value in query.items()
    )
    options = "".join(
        f'<option value="{one.id}">{html.escape(one.global_name or one.username)} (@{html.escape(one.username)})</option>'
        for one in people
    )
    wanted = "".join(f"<li>{html.escape(scope)}</li>" for scope in scopes)
    name = html.escape(application.name)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Authorize {name}</title><style>{_STYLE}</style><main><h1>{name}</h1>"
        f"<p>wants to access a simulated account:</p><ul>{wanted}</ul>"
        f'<form method="post" action="/oauth2/authorize">{hidden}<label>Continue as<select name="user">{options}</select></label>'
        f'<button name="decision" value="approve">Authorize</button>'
        f'<button class="plain" name="decision" value="cancel">Cancel</button></form></main></html>'
    )
