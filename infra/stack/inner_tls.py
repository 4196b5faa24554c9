"""Certificates for the bucket's inner gRPC ports.

SeaweedFS' parts trust whoever reaches their gRPC ports, and any user of the machine reaches loopback. With mutual TLS
under a certificate authority that exists only in this home directory, nobody but the bucket itself does.
"""

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from edge_client.contract.private_files import write_private
from infra.stack.layout import Home

_LIFE = timedelta(days=36_500)  # the file's own life; the authority's key is thrown away at once
FILES = ("ca.pem", "bucket.pem", "bucket.key")


def create_certificates(home: Home, now: datetime | None = None) -> None:
    """Make the authority and one certificate, unless all files are there."""
    if all((home.tls / name).exists() for name in FILES):
        return
    home.tls.mkdir(mode=0o700, exist_ok=True)
    for name in FILES:
        (home.tls / name).unlink(missing_ok=True)
    start = (now or datetime.now(UTC)) - timedelta(days=1)
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = _name("Andon bucket authority")

    def certificate(subject: x509.Name, public: ec.EllipticCurvePublicKey, *, authority_itself: bool) -> bytes:
        built = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(authority)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + _LIFE)
            .add_extension(x509.BasicConstraints(ca=authority_itself, path_length=None), critical=True)
            .sign(authority_key, hashes.SHA256())
        )
        return built.public_bytes(serialization.Encoding.PEM)

    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    write_private(home.tls / "ca.pem", certificate(authority, authority_key.public_key(), authority_itself=True))
    write_private(home.tls / "bucket.pem", certificate(_name("Andon bucket"), key.public_key(), authority_itself=False))
    write_private(home.tls / "bucket.key", pem)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
