//! TLS to PostgreSQL, as libpq's `sslmode` says it (PostgreSQL manual, "SSL Support").

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

use super::address::{Roots, TlsSettings, Trust};
use super::error::SourceError;

/// What makes TLS connections, where the server wants them.
pub(super) fn connector(settings: &TlsSettings) -> Result<MakeRustlsConnect, SourceError> {
    let provider = Arc::new(ring::default_provider());
    let (anchors, for_host) = match &settings.trust {
        Trust::Anything => (None, false),
        Trust::Signed(roots) => (Some(anchors(roots)?), false),
        Trust::SignedForHost(roots) => (Some(anchors(roots)?), true),
    };
    let verifier = Verifier { anchors, for_host, provider: Arc::clone(&provider) };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| SourceError::new(format!("TLS cannot be set up: {error}")))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match &settings.client {
        None => config.with_no_client_auth(),
        Some((certificates, key)) => {
            let unusable = |error: &dyn std::fmt::Display| {
                SourceError::new(format!(
                    "the key in {} (sslkey) cannot be used: {error}; it is a PEM file without a passphrase",
                    key.display()
                ))
            };
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(&error))?;
            config.with_client_auth_cert(certificates_of(certificates)?, key).map_err(|error| unusable(&error))?
        }
    };
    if settings.direct {
        // RFC 7301; PostgreSQL asks for it where TLS comes first.
        config.alpn_protocols = vec![b"postgresql".to_vec()];
    }
    Ok(MakeRustlsConnect::new(config))
}

/// Who may sign, with the certificates at hand.
#[derive(Debug)]
struct Anchors {
    store: RootCertStore,
    /// The same as they came: a server may show one of them itself.
    certificates: Vec<CertificateDer<'static>>,
}

fn anchors(roots: &Roots) -> Result<Anchors, SourceError> {
    let certificates = match roots {
        Roots::File(path) => certificates_of(path)?,
        Roots::System => rustls_native_certs::load_native_certs().certs,
    };
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(certificates.iter().cloned());
    if store.is_empty() && *roots == Roots::System {
        return Err(SourceError::new(
            "this machine has no certificates of authorities to check the server with; install them \
             (ca-certificates), or name a PEM file with sslrootcert=FILE in DATABASE_URL",
        ));
    }
    Ok(Anchors { store, certificates })
}

fn certificates_of(path: &Path) -> Result<Vec<CertificateDer<'static>>, SourceError> {
    let unusable = |error: &dyn std::fmt::Display| {
        SourceError::new(format!(
            "{} (named in DATABASE_URL) gives no certificates: {error}; it is a PEM file, -----BEGIN CERTIFICATE-----",
            path.display()
        ))
    };
    let pem = fs::read(path).map_err(|error| unusable(&error))?;
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(|error| unusable(&error))?;
    if certificates.is_empty() { Err(unusable(&"there is none in it")) } else { Ok(certificates) }
}

/// Checks as much of the server's certificate as `sslmode` asks for. That the server has the key to it is always checked.
#[derive(Debug)]
struct Verifier {
    /// None where anybody may sign.
    anchors: Option<Anchors>,
    for_host: bool,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn verify_signed(
        &self,
        anchors: &Anchors,
        shown: &CertificateDer<'_>,
        parsed: &ParsedCertificate<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let algorithms = self.provider.signature_verification_algorithms.all;
        match verify_server_cert_signed_by_trust_anchor(parsed, &anchors.store, between, now, algorithms) {
            // One that signed itself is mostly an authority's, which webpki takes for no server's (what it finds has no kind of its own
            // in rustls; dates were looked at before). libpq takes it where it is the very one in sslrootcert, and so do we.
            Err(Error::InvalidCertificate(CertificateError::Other(_))) => {
                let is_named = anchors.certificates.iter().any(|one| one == shown);
                if is_named { Ok(()) } else { Err(CertificateError::UnknownIssuer.into()) }
            }
            other => other,
        }
    }
}

impl ServerCertVerifier for Verifier {
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

/// What a failed handshake means, and the way out.
pub(super) fn refusal(error: &Error) -> String {
    if matches!(error, Error::InvalidMessage(_)) {
        return format!(
            "what answers there speaks no TLS ({error}); see if it is PostgreSQL that listens there, and correct host and port in DATABASE_URL"
        );
    }
    let Error::InvalidCertificate(certificate) = error else {
        return format!("TLS fails: {error}; see the server's log");
    };
    let (what, way_out) = match certificate {
        CertificateError::UnknownIssuer => (
            "is signed by nobody that is trusted here".to_owned(),
            "name the file with its authority: sslrootcert=FILE in DATABASE_URL (or sslmode=require to encrypt without a check)",
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
            "is not for this host (its subjectAltName counts, not its common name)".to_owned(),
            "write the name that it is for in DATABASE_URL, or make one for this host",
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            ("has run out".to_owned(), "renew it on the server")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            ("is not valid yet".to_owned(), "see if this machine's clock is right")
        }
        other => (
            format!("cannot be used ({other})"),
            "make one of version 3 with a subjectAltName, signed by an authority; sslmode=disable does without TLS",
        ),
    };
    format!("the server's certificate {what}; {way_out}")
}
