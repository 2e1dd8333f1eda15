//! Where a server or node is reached. Owns the spelling; refuses to decide which addresses are allowed
//! (the servers do) and to connect ([`crate::Connection`] does).

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use http::uri::Authority;

/// Where a server or node is reached: `http://127.0.0.1:7420` or `unix:///path/node.sock`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// Host and port over TCP. Nothing is encrypted.
    Http(Authority),
    /// A Unix socket; an absolute path.
    Unix(PathBuf),
}

/// Why a text is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEndpoint {
    /// Neither of the two forms.
    #[error(
        "`{}` is no address of a server: `http://127.0.0.1:7420` or `unix:///path/to/socket` is wanted",
        .text.escape_debug()
    )]
    Syntax {
        /// The text as it was given, cut to 80 characters.
        text: String,
    },
    /// `https`.
    #[error("`{}` wants encryption, which fettle does not speak yet", .text.escape_debug())]
    Encrypted {
        /// The text as it was given, cut to 80 characters.
        text: String,
    },
}

impl Endpoint {
    /// The URL that a request's path and query are appended to. Over a Unix socket the host is only
    /// what the `Host` field says.
    pub(crate) fn base(&self) -> String {
        match self {
            Endpoint::Http(authority) => format!("http://{authority}"),
            Endpoint::Unix(_) => "http://localhost".to_owned(),
        }
    }
}

impl FromStr for Endpoint {
    type Err = InvalidEndpoint;
    fn from_str(text: &str) -> Result<Self, InvalidEndpoint> {
        let cut = || text.chars().take(80).collect();
        let refusal = || InvalidEndpoint::Syntax { text: cut() };
        if let Some(path) = text.strip_prefix("unix://") {
            let legal = Path::new(path).is_absolute() && !path.chars().any(char::is_control);
            return legal.then(|| Endpoint::Unix(path.into())).ok_or_else(refusal);
        }
        if text.starts_with("https://") {
            return Err(InvalidEndpoint::Encrypted { text: cut() });
        }
        let authority = text.strip_prefix("http://").ok_or_else(refusal)?;
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        // The two parsers must agree, so that what is shown is what is called.
        let url = reqwest::Url::parse(&format!("http://{authority}/")).map_err(|_| refusal())?;
        let authority: Authority = authority.parse().map_err(|_| refusal())?;
        let plain = url.host_str().is_some_and(|host| host.eq_ignore_ascii_case(authority.host()))
            && url.port_or_known_default() == Some(authority.port_u16().unwrap_or(80))
            && url.path() == "/"
            && !authority.as_str().contains('@')
            && !authority.as_str().ends_with(':');
        plain.then_some(Endpoint::Http(authority)).ok_or_else(refusal)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Http(authority) => write!(f, "http://{authority}"),
            Endpoint::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_server_prints_when_it_is_ready_is_an_endpoint() {
        for good in ["http://127.0.0.1:7420", "http://[::1]:7420", "unix:///run/node.sock"] {
            assert_eq!(good.parse::<Endpoint>().unwrap().to_string(), good);
        }
        assert_eq!(
            "http://localhost/".parse::<Endpoint>().unwrap().to_string(),
            "http://localhost"
        );
    }

    #[test]
    fn what_would_lead_elsewhere_than_it_says_is_refused() {
        for bad in [
            "",
            "127.0.0.1:7420",
            "http://",
            "http://a/b",
            "http://a?b",
            "http://a#b",
            "http://user@a",
            "http://a:99999",
            "http://a:",
            "http://a b",
            "http://a\\b",
            "http://127.1:80",
            "unix://relative",
            "unix:///a\nb",
            "ftp://a",
        ] {
            assert!(
                matches!(bad.parse::<Endpoint>(), Err(InvalidEndpoint::Syntax { .. })),
                "{bad}"
            );
        }
    }

    #[test]
    fn an_encrypted_address_is_refused_with_its_reason() {
        let refusal = "https://example.org".parse::<Endpoint>().unwrap_err();
        assert!(matches!(refusal, InvalidEndpoint::Encrypted { .. }));
    }

    proptest! {
        #[test]
        fn whatever_parses_prints_and_parses_to_itself(text in "(http://|unix://)?\\PC{0,40}") {
            if let Ok(endpoint) = text.parse::<Endpoint>() {
                prop_assert_eq!(endpoint.to_string().parse::<Endpoint>(), Ok(endpoint));
            }
        }
    }
}
