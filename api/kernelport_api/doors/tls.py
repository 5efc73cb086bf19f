"""TLS for both doors. Files that are replaced are taken up while the front door runs: a connection goes on with what it
began with, the next one gets what there is now."""

import asyncio
import logging
import ssl
from typing import Any

import grpc

from kernelport.certificates.files import CertificateError, CertificateFiles, Certificates
from kernelport.telemetry import audit

LOOK_INTERVAL_S = 1.0

log = logging.getLogger(__name__)


class Tls:
    """What both doors show and ask for.

    Raises:
        CertificateError: the files are not what they should be.
    """

    def __init__(self, files: CertificateFiles) -> None:
        self._files = files
        self._stamp = files.stamp()
        self._told = self._stamp
        self._current, self._context = self._read()
        self._is_taken = True  # by gRPC, which asks at each connection
        log.info("TLS by %s", self._current)

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """Those of a port of gRPC."""
        fetch: Any = self._newer  # None, which it may give, means that there is nothing new
        return grpc.dynamic_ssl_server_credentials(
            _grpc_configuration(self._current), fetch, require_client_authentication=bool(self._current.client_ca)
        )

    def http_context(self) -> ssl.SSLContext:
        """That of a listener for HTTP."""
        context = self._new_context()
        context.sni_callback = self._hand_over
        return context

    async def keep_current(self) -> None:
        """Looks for files that were replaced, for ever. What cannot be used is logged, and what there was stays."""
        while True:
            await asyncio.sleep(LOOK_INTERVAL_S)
            stamp = self._files.stamp()
            if stamp == self._stamp:
                continue
            try:
                self._current, self._context = await asyncio.to_thread(self._read)
            except CertificateError as error:
                if stamp != self._told:  # the files of a pair come one after the other
                    log.error("the certificate stays as it was: %s", error)
                self._told = stamp
                continue
            self._stamp = self._told = stamp
            self._is_taken = False
            log.info("from now on TLS by %s", self._current)
            audit.record(
                "certificate.reload", str(self._files.cert), actor="front door", valid_until=self._current.ends
            )

    def _read(self) -> tuple[Certificates, ssl.SSLContext]:
        return self._files.read(), self._new_context()

    def _new_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["http/1.1"])
        # A session that is resumed would not be asked for its certificate again.
        context.num_tickets = 0
        context.options |= ssl.OP_NO_TICKET
        try:
            context.load_cert_chain(self._files.cert, self._files.key)
            if self._files.client_ca is not None:
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(self._files.client_ca)
        except (OSError, ssl.SSLError) as error:  # replaced since it was read, or of a kind that OpenSSL refuses
            raise CertificateError(f"TLS cannot go by {self._files.cert} and {self._files.key}: {error}") from error
        return context

    def _hand_over(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        """A connection begins; callers who name no host come by here, too."""
        connection.context = self._context

    def _newer(self) -> grpc.ServerCertificateConfiguration | None:
        """What gRPC has not got yet. A configuration can be handed over once only."""
        if self._is_taken:
            return None
        self._is_taken = True
        return _grpc_configuration(self._current)


def _grpc_configuration(certificates: Certificates) -> grpc.ServerCertificateConfiguration:
    pair = [(certificates.key, certificates.chain)]
    return grpc.ssl_server_certificate_configuration(pair, certificates.client_ca or None)
