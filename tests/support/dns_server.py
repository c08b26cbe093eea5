"""A DNS server for tests: real questions over UDP, the answers from a table."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

HOST = "127.0.0.1"


@dataclass(eq=False)
class DnsServer(asyncio.DatagramProtocol):
    """Answers for the names in `records`, each with its TXT records, and for the names above them.

    All others do not exist. `refused` names get SERVFAIL, `silent` ones no answer; "*" stands for all.
    One without the Internet does not know the root.
    """

    records: Mapping[str, Sequence[str]]
    refused: Sequence[str] = ()
    silent: Sequence[str] = ()
    knows_internet: bool = True
    asked: list[str] = field(default_factory=list)
    port: int = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        name = query.question[0].name.to_text(omit_final_dot=True).lower()
        self.asked.append(name)
        if not {name, "*"} & set(self.silent):
            self._transport.sendto(self._answer(query, name).to_wire(), addr)

    def _answer(self, query: dns.message.Message, name: str) -> dns.message.Message:
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        if {name, "*"} & set(self.refused):
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif name in self.records:
            texts = [_quoted(text) for text in self.records[name]]
            if texts:
                made = dns.rrset.from_text_list(
                    query.question[0].name, 60, dns.rdataclass.IN, dns.rdatatype.TXT, texts
                )
                answer.answer.append(made)
        elif not self._is_above_known(name):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        return answer

    def _is_above_known(self, name: str) -> bool:
        if name == ".":
            return self.knows_internet
        return any(known.endswith(f".{name}") for known in self.records)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[DnsServer]:
        """Listen on a port of the system's choice until the block ends."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(HOST, self.port))
        self.port = transport.get_extra_info("sockname")[1]
        try:
            yield self
        finally:
            transport.close()


def _quoted(text: str) -> str:
    """A TXT record consists of strings of at most 255 bytes."""
    parts = [text[i : i + 200] for i in range(0, len(text), 200)]
    return " ".join('"' + part.replace('"', '\\"') + '"' for part in parts)
