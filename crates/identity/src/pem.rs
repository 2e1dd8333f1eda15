//! Several things in one PEM text: keys, certificates, requests, and whatever people write between them.
//! Owns the cutting; what is inside is read by whoever knows it.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// What a text holds, each kind in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bundle {
    /// Private keys, each as PEM.
    pub keys: Vec<String>,
    /// Certificates.
    pub certificates: Vec<CertificateDer<'static>>,
    /// Requests, each as PEM.
    pub requests: Vec<String>,
}

/// Why a text cannot be cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// A section that begins and does not end.
    #[error("`{label}` begins in line {line} and does not end")]
    Unended {
        /// What begins.
        label: String,
        /// In which line, counted from 1.
        line: usize,
    },
    /// A certificate that is none.
    #[error("the certificate in line {line} cannot be read")]
    Certificate {
        /// In which line it begins, counted from 1.
        line: usize,
    },
    /// Something that does not belong into such a file.
    #[error("line {line} begins a `{label}`, which does not belong here")]
    Unknown {
        /// What begins.
        label: String,
        /// In which line, counted from 1.
        line: usize,
    },
}

impl Bundle {
    /// Cuts a text. What stands between sections is for people.
    ///
    /// # Errors
    /// See [`BundleError`].
    pub fn parse(text: &str) -> Result<Bundle, BundleError> {
        let mut bundle = Bundle::default();
        let mut lines = text.lines().enumerate();
        while let Some((at, first)) = lines.next() {
            let Some(label) = between(first, "-----BEGIN ") else { continue };
            let (label, line) = (label.to_owned(), at + 1);
            let mut section = format!("{}\n", first.trim_end());
            loop {
                let Some((_, next)) = lines.next() else {
                    return Err(BundleError::Unended { label, line });
                };
                section.push_str(next.trim_end());
                section.push('\n');
                if between(next, "-----END ") == Some(&label) {
                    break;
                }
            }
            match label.as_str() {
                "CERTIFICATE" => {
                    let der = CertificateDer::from_pem_slice(section.as_bytes());
                    bundle.certificates.push(der.map_err(|_| BundleError::Certificate { line })?);
                }
                "CERTIFICATE REQUEST" => bundle.requests.push(section),
                "PRIVATE KEY" | "ENCRYPTED PRIVATE KEY" => bundle.keys.push(section),
                _ => return Err(BundleError::Unknown { label, line }),
            }
        }
        Ok(bundle)
    }
}

/// Certificates as PEM.
pub fn to_pem<'a>(certificates: impl IntoIterator<Item = &'a CertificateDer<'static>>) -> String {
    let one = |der: &CertificateDer<'_>| {
        pkcs8::der::pem::encode_string("CERTIFICATE", pkcs8::LineEnding::LF, der)
    };
    // Encoding into memory fails for labels that are none.
    certificates.into_iter().filter_map(|der| one(der).ok()).collect()
}

fn between<'a>(line: &'a str, begin: &str) -> Option<&'a str> {
    line.trim_end().strip_prefix(begin)?.strip_suffix("-----")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sections_are_found_between_what_people_write() {
        let (one, two) = (CertificateDer::from(vec![1; 100]), CertificateDer::from(vec![2]));
        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let text = format!("alice\n{}\nand\r\n{key}{}", to_pem([&one]), to_pem([&two]));
        let bundle = Bundle::parse(&text.replace('\n', "\r\n")).unwrap();
        assert_eq!(bundle.certificates, [one, two]);
        assert_eq!((bundle.keys, bundle.requests), (vec![key.to_owned()], vec![]));
    }

    #[test]
    fn what_cannot_be_cut_is_said_with_its_line() {
        let unended = "x\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATES-----\n";
        let (label, line) = ("CERTIFICATE".to_owned(), 2);
        assert_eq!(Bundle::parse(unended), Err(BundleError::Unended { label, line }));
        let garbage = "-----BEGIN CERTIFICATE-----\n***\n-----END CERTIFICATE-----\n";
        assert_eq!(Bundle::parse(garbage), Err(BundleError::Certificate { line: 1 }));
        let other = "-----BEGIN RSA PRIVATE KEY-----\n-----END RSA PRIVATE KEY-----\n";
        let (label, line) = ("RSA PRIVATE KEY".to_owned(), 1);
        assert_eq!(Bundle::parse(other), Err(BundleError::Unknown { label, line }));
        assert_eq!(Bundle::parse(""), Ok(Bundle::default()));
    }

    proptest! {
        #[test]
        fn any_text_is_cut_or_refused(text in "(-----(BEGIN|END) (CERTIFICATE|PRIVATE KEY)-----\n|[A=\n-]){0,12}") {
            let _ = Bundle::parse(&text);
        }

        #[test]
        fn certificates_come_back(all in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 0..5)) {
            let all: Vec<CertificateDer<'static>> = all.into_iter().map(CertificateDer::from).collect();
            prop_assert_eq!(Bundle::parse(&to_pem(&all)).unwrap().certificates, all);
        }
    }
}
