"""Who counts as one visitor when the device is shared out."""

import ipaddress

import gradio as gr
from gradio.context import LocalContext


def owner_of(client: gr.Request) -> str:
    """The login name, else the address a call comes from, and behind a private address the page's session as well.

    A session is a number that the caller chooses, so on the internet an address is one visitor, however many tabs and
    scripts it has open. A private address may be a proxy's (a Space's, a share link's, a container's) with many people
    behind it: there each page counts, and all calls without a session, such as a plain POST, count together.
    X-Forwarded-For is not read here, for anybody may send it: uvicorn believes a proxy on this machine, nobody else.
    """
    if client.username:
        return f"name {client.username}"
    address = client.client.host if client.client else ""
    has_session = client.session_hash and client.session_hash != LocalContext.event_id.get(None)  # else the call's own
    return f"page {address} {client.session_hash}" if has_session and not _is_public(address) else f"address {address}"


def _is_public(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:  # a socket's path, or nothing
        return False
