"""An SMTP server for tests: aiosmtpd with STARTTLS or TLS and a login, one file for each mail."""

import asyncio
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

folder, mode = sys.argv[1:3]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(f"{folder}/server.pem", f"{folder}/server.key")


class Keep:
    """Keeps each mail as it came, with its envelope in front."""

    def __init__(self):
        self.count = 0

    async def handle_DATA(self, server, session, envelope):
        if b"Subject: refuse" in envelope.content:
            return "554 5.7.1 not here"
        self.count += 1
        head = f"MAIL {envelope.mail_from} RCPT {','.join(envelope.rcpt_tos)} TLS {session.ssl is not None}\n"
        with open(f"{folder}/{self.count}.part", "wb") as mail:
            mail.write(head.encode() + envelope.content)
        import os

        os.rename(f"{folder}/{self.count}.part", f"{folder}/{self.count}.mail")
        return "250 OK"


def login(server, session, envelope, mechanism, data):
    good = isinstance(data, LoginPassword) and (data.login, data.password) == (b"me", b"hunter2")
    return AuthResult(success=good, handled=good)


def serve():
    if mode == "plain":
        return SMTP(keep)
    tls = context if mode == "starttls" else None
    return SMTP(
        keep, tls_context=tls, require_starttls=tls is not None, authenticator=login,
        auth_required=True, auth_require_tls=tls is not None,
    )


async def main():
    wrapped = context if mode == "tls" else None
    server = await asyncio.get_running_loop().create_server(serve, "127.0.0.1", 0, ssl=wrapped)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


keep = Keep()
asyncio.run(main())
