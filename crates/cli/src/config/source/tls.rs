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

/// Returns what makes TLS connections, if the server supports them.
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
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(&error))?;
            config.with_client_auth_cert(certificates_of(certificates)?, key).map_err(|error| unusable(&error))?
        }
    };
    if settings.direct {
        // PostgreSQL requires ALPN (RFC 7301) if TLS comes first.
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
    if store.is_empty() && *roots == TrustRoots::System {
        return Err(SourceError::new(
            "this machine trusts no certificate authorities; install them (ca-certificates), or give a PEM file \
             with sslrootcert=FILE in DATABASE_URL",
        ));
    }
    Ok(TrustAnchors { store, certificates })
}

fn certificates_of(path: &Path) -> Result<Vec<CertificateDer<'static>>, SourceError> {
    let unusable = |error: &dyn std::fmt::Display| {
        SourceError::new(format!(
            "{} (in DATABASE_URL) contains no usable certificates: {error}; it must be a PEM file, -----BEGIN \
             CERTIFICATE-----",
            path.display()
        ))
    };
    let pem = fs::read(path).map_err(|error| unusable(&error))?;
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(|error| unusable(&error))?;
    if certificates.is_empty() { Err(unusable(&"there is none in it")) } else { Ok(certificates) }
}

/// Checks as much of the server's certificate as `sslmode` asks for. That the server has the
/// private key is always checked.
#[derive(Debug)]
struct ServerVerifier {
    /// None if any certificate is accepted.
    anchors: Option<TrustAnchors>,
    for_host: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerVerifier {
    fn verify_signed(
        &self,
        anchors: &TrustAnchors,
        shown: &CertificateDer<'_>,
        parsed: &ParsedCertificate<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let algorithms = self.provider.signature_verification_algorithms.all;
        match verify_server_cert_signed_by_trust_anchor(parsed, &anchors.store, between, now, algorithms) {
            // A self-signed certificate is usually marked as one of a CA, which webpki
            // does not accept for a server (rustls has no kind for that; dates were checked
            // before). Like libpq, this accepts it if it is one of those in sslrootcert.
            Err(Error::InvalidCertificate(CertificateError::Other(_))) => {
                let is_named = anchors.certificates.iter().any(|one| one == shown);
                if is_named { Ok(()) } else { Err(CertificateError::UnknownIssuer.into()) }
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

/// Returns what a failed handshake means, and what people can do.
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
    let (what, advice) = match certificate {
        CertificateError::UnknownIssuer => (
            "is not signed by a trusted authority".to_owned(),
            "give the file with its authority: sslrootcert=FILE in DATABASE_URL (or sslmode=require to encrypt \
             without this check)",
        ),
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
        other => (
            format!("cannot be used ({other})"),
            "issue one of version 3 with a subjectAltName, signed by a CA; sslmode=disable connects \
             without TLS",
        ),
    };
    format!("the server's certificate {what}; {advice}")
}
