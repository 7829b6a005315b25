//! TLS to PostgreSQL, as libpq's `sslmode` defines it (PostgreSQL manual, "SSL Support").

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::database_address::{TlsSettings, TlsTrust, TrustRoots};
use super::error::SourceError;

/// Returns the TLS connector for the settings.
pub(super) fn connector(settings: &TlsSettings) -> Result<MakeRustlsConnect, SourceError> {
    let provider = Arc::new(ring::default_provider());
    let (anchors, for_host) = match &settings.trust {
        TlsTrust::Anything => (None, false),
        TlsTrust::Signed(roots) => (Some(anchors(roots)?), false),
        TlsTrust::SignedForHost(roots) => (Some(anchors(roots)?), true),
    };
    let verifier = ServerVerifier { anchors, for_host, provider: Arc::clone(&provider) };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| {
            SourceError::new(format!("TLS cannot be set up: {error}; sslmode=disable connects without it"))
        })?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match &settings.client {
        None => config.with_no_client_auth(),
        Some((certificates, key)) => {
            let unusable = |error: &dyn std::fmt::Display| {
                SourceError::new(format!(
                    "the key in {} (sslkey) cannot be used: {error}; it must be a PEM file without a passphrase",
                    key.display()
                ))
            };
            let parsed = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(&error))?;
            config.with_client_auth_cert(certificates_of(certificates)?, parsed).map_err(|error| match error {
                Error::InconsistentKeys(_) => SourceError::new(format!(
                    "the key in {} (sslkey) is not the one of the certificate in {} (sslcert); give the two that \
                     belong together in DATABASE_URL",
                    key.display(),
                    certificates.display()
                )),
                Error::InvalidCertificate(error) => no_certificates(certificates, &error),
                error => unusable(&error),
            })?
        }
    };
    if settings.direct {
        // PostgreSQL requires ALPN (RFC 7301) if the connection begins with TLS.
        config.alpn_protocols = vec![b"postgresql".to_vec()];
    }
    Ok(MakeRustlsConnect::new(config))
}

/// The trusted authorities, with their certificates.
#[derive(Debug)]
struct TrustAnchors {
    store: RootCertStore,
    /// The certificates as they were read: a server may present one of them itself.
    certificates: Vec<CertificateDer<'static>>,
}

fn anchors(roots: &TrustRoots) -> Result<TrustAnchors, SourceError> {
    let certificates = match roots {
        TrustRoots::File(path) => certificates_of(path)?,
        TrustRoots::System => rustls_native_certs::load_native_certs().certs,
    };
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(certificates.iter().cloned());
    if store.is_empty() {
        return Err(match roots {
            TrustRoots::File(path) => no_certificates(path, &"what is in it is not X.509"),
            TrustRoots::System => SourceError::new(
                "this machine trusts no certificate authorities; install them (ca-certificates), or give a PEM file \
                 with sslrootcert=FILE in DATABASE_URL",
            ),
        });
    }
    Ok(TrustAnchors { store, certificates })
}

fn certificates_of(path: &Path) -> Result<Vec<CertificateDer<'static>>, SourceError> {
    let unusable = |error: &dyn std::fmt::Display| no_certificates(path, error);
    let pem = fs::read(path).map_err(|error| unusable(&error))?;
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(|error| unusable(&error))?;
    if certificates.is_empty() { Err(unusable(&"there is none in it")) } else { Ok(certificates) }
}

/// Returns the error for a file without certificates that can be used.
fn no_certificates(path: &Path, reason: &dyn std::fmt::Display) -> SourceError {
    SourceError::new(format!(
        "{} (in DATABASE_URL) contains no usable certificates: {reason}; it must be a PEM file, -----BEGIN \
         CERTIFICATE-----",
        path.display()
    ))
}

/// Checks of the server's certificate what `sslmode` asks for: nothing, its chain, or chain and
/// host. That the server has its private key is checked in every mode.
#[derive(Debug)]
struct ServerVerifier {
    /// `None` if any certificate is accepted.
    anchors: Option<TrustAnchors>,
    for_host: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerVerifier {
    fn verify_signed(
        &self,
        anchors: &TrustAnchors,
        end_entity: &CertificateDer<'_>,
        parsed: &ParsedCertificate<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let algorithms = self.provider.signature_verification_algorithms.all;
        match verify_server_cert_signed_by_trust_anchor(parsed, &anchors.store, intermediates, now, algorithms) {
            // A self-signed certificate is usually marked as one of a CA, which webpki does not
            // accept for a server (it has checked the dates before). Like libpq, this accepts it
            // if it is itself one of the trusted ones.
            Err(Error::InvalidCertificate(error))
                if is_of_authority(&error) && anchors.certificates.iter().any(|one| one == end_entity) =>
            {
                Ok(())
            }
            other => other,
        }
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(anchors) = &self.anchors {
            let parsed = ParsedCertificate::try_from(end_entity)?;
            self.verify_signed(anchors, end_entity, &parsed, intermediates, now)?;
            if self.for_host {
                verify_server_name(&parsed, server_name)?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Returns true if the certificate is refused because it is marked as one of a CA. rustls has no
/// kind for that.
fn is_of_authority(error: &CertificateError) -> bool {
    let CertificateError::Other(other) = error else { return false };
    other.0.downcast_ref() == Some(&webpki::Error::CaUsedAsEndEntity)
}

/// Returns the message about a failed handshake: what it means, and what people can do.
pub(super) fn refusal(error: &Error) -> String {
    if matches!(error, Error::InvalidMessage(_)) {
        return format!(
            "the server there does not speak TLS ({error}); check that PostgreSQL listens there, and correct host \
             and port in DATABASE_URL"
        );
    }
    let Error::InvalidCertificate(certificate) = error else {
        return format!("TLS fails: {error}; check the server's log");
    };
    let unusable = |reason: &dyn std::fmt::Display| {
        (
            format!("cannot be used ({reason})"),
            "issue one of version 3 with a subjectAltName, signed by a CA that may sign it; sslmode=disable connects \
             without TLS",
        )
    };
    let (what, advice) = match certificate {
        CertificateError::UnknownIssuer => (
            "is not signed by a trusted authority".to_owned(),
            "give the file with its authority: sslrootcert=FILE in DATABASE_URL (or sslmode=require to encrypt \
             without this check)",
        ),
        // The chain is meant, not the handshake: PostgreSQL does not start with a key that is not
        // the one of its certificate.
        CertificateError::BadSignature => (
            "is not signed by the trusted authority of that name, which has another key".to_owned(),
            "give the file with the authority that signed it: sslrootcert=FILE in DATABASE_URL",
        ),
        error if is_of_authority(error) => (
            "is marked as one of an authority (CA:TRUE), and is not itself among the trusted ones".to_owned(),
            "give the file with the certificate itself: sslrootcert=FILE in DATABASE_URL, or issue one without that \
             mark",
        ),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            ("is not for servers (its extendedKeyUsage lacks serverAuth)".to_owned(), "issue one for servers")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
            "is not for this host (its subjectAltName counts, not its common name)".to_owned(),
            "use the name that it is for in DATABASE_URL, or issue one for this host",
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            ("has expired".to_owned(), "renew it on the server")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            ("is not valid yet".to_owned(), "check the clock of this machine")
        }
        CertificateError::Other(reason) => unusable(reason),
        reason => unusable(reason),
    };
    format!("the server's certificate {what}; {advice}")
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;

    use super::*;

    /// A certificate for [`private_key`] of 1, valid until 2126.
    const CERTIFICATE: &str = "\
        MIIBGzCBzqADAgECAgEBMAUGAytlcDAMMQowCAYDVQQDDAFjMCAXDTI2MTEzMDAzMzkxM1oYDzIxMjYxMTA2MDMzOT\
        EzWjAMMQowCAYDVQQDDAFjMCowBQYDK2VwAyEAiojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1yjUzBRMB0G\
        A1UdDgQWBBSa0Z4PFu73FMuQxvGV285m6UWA+TAfBgNVHSMEGDAWgBSa0Z4PFu73FMuQxvGV285m6UWA+TAPBgNVHR\
        MBAf8EBTADAQH/MAUGAytlcANBALa6Jlg9tNnJcgSCs8qjgEQzmvWieDAmhUrw6ta75rKZ3Wg4cTxyGYoLEFvXRj75\
        tohBvUq3ivISAL3z4/jo3AY=";

    fn pem(label: &str, base64: &str) -> String {
        format!("-----BEGIN {label}-----\n{base64}\n-----END {label}-----\n")
    }

    /// Returns an Ed25519 key whose bytes all have this value (RFC 8410 §7).
    fn private_key(byte: u8) -> String {
        let algorithm = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
        pem("PRIVATE KEY", &BASE64_STANDARD.encode([&algorithm[..], &[byte; 32]].concat()))
    }

    /// Returns the error for a client with these files; empty if there is none.
    fn refusal_of(certificate: &Path, key: &Path) -> String {
        let client = Some((certificate.to_owned(), key.to_owned()));
        let settings = TlsSettings { trust: TlsTrust::Anything, client, direct: false };
        connector(&settings).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_client_key_that_cannot_be_used_is_reported_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("client.crt"), folder.path().join("client.key"));
        fs::write(&certificate, pem("CERTIFICATE", CERTIFICATE)).unwrap();
        for (text, expected) in [
            (private_key(1), ""),
            (private_key(2), "(sslkey) is not the one of the certificate in "),
            ("no key".to_owned(), "it must be a PEM file without a passphrase"),
            (pem("PRIVATE KEY", "AAAA"), "it must be a PEM file without a passphrase"),
        ] {
            fs::write(&key, &text).unwrap();
            let sentence = refusal_of(&certificate, &key);
            assert_eq!(sentence.is_empty(), expected.is_empty(), "{sentence}");
            assert!(sentence.contains(expected), "{sentence}");
        }
    }

    #[test]
    fn a_client_certificate_that_cannot_be_used_is_not_reported_as_a_fault_of_the_key() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("client.crt"), folder.path().join("client.key"));
        fs::write(&certificate, pem("CERTIFICATE", "AAAA")).unwrap();
        fs::write(&key, private_key(1)).unwrap();
        let sentence = refusal_of(&certificate, &key);
        assert!(sentence.contains("client.crt (in DATABASE_URL) contains no usable certificates: "), "{sentence}");
    }
}
