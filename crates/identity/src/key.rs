//! Private keys: ECDSA on P-256, in PKCS#8. Owns making and spelling them; refuses to keep them in files.

use std::fmt;

use pkcs8::der::pem::PemLabel as _;
use pkcs8::{EncryptedPrivateKeyInfoRef, LineEnding, PrivateKeyInfoRef, SecretDocument};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData as _};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// A private key. It is never shown: what is printed of it is what its public half hashes to.
pub struct Key(KeyPair);

/// Why a key cannot be made or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No PKCS#8 key in PEM.
    #[error("it is no private key in PEM (PKCS#8)")]
    Syntax,
    /// A kind that fettle does not use.
    #[error("it is no ECDSA key on P-256")]
    Kind,
    /// It is encrypted, and there is no passphrase.
    #[error("it is encrypted, and its passphrase is wanted")]
    Encrypted,
    /// It cannot be decrypted.
    #[error("it cannot be decrypted: the passphrase is wrong, or the file is damaged")]
    Passphrase,
    /// The system gives no randomness, or the library fails.
    #[error("a key cannot be made")]
    Making,
}

impl Key {
    /// A new one.
    ///
    /// # Errors
    /// [`KeyError::Making`].
    pub fn generate() -> Result<Key, KeyError> {
        KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map(Key).map_err(|_| KeyError::Making)
    }

    /// From PEM; `passphrase` is asked for only where it is needed.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn from_pem(pem: &str, passphrase: Option<&str>) -> Result<Key, KeyError> {
        let (label, document) = SecretDocument::from_pem(pem).map_err(|_| KeyError::Syntax)?;
        let der = if label == EncryptedPrivateKeyInfoRef::PEM_LABEL {
            let passphrase = passphrase.ok_or(KeyError::Encrypted)?;
            let sealed = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes());
            let sealed = sealed.map_err(|_| KeyError::Syntax)?;
            sealed.decrypt(passphrase).map_err(|_| KeyError::Passphrase)?
        } else if label == PrivateKeyInfoRef::PEM_LABEL {
            document
        } else {
            return Err(KeyError::Syntax);
        };
        let der = PrivatePkcs8KeyDer::from(der.as_bytes());
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ECDSA_P256_SHA256);
        key.map(Key).map_err(|_| KeyError::Kind)
    }

    /// As PEM, for a file that its owner alone may read.
    pub fn to_pem(&self) -> String {
        self.0.serialize_pem()
    }

    /// As PEM that needs the passphrase: PBES2 with scrypt and AES-256, which `openssl pkey` reads.
    ///
    /// # Errors
    /// [`KeyError::Making`].
    pub fn to_encrypted_pem(&self, passphrase: &str) -> Result<String, KeyError> {
        let der = self.0.serialized_der();
        let key = PrivateKeyInfoRef::try_from(der).map_err(|_| KeyError::Making)?;
        let sealed = key.encrypt(passphrase).map_err(|_| KeyError::Making)?;
        let label = EncryptedPrivateKeyInfoRef::PEM_LABEL;
        let pem = sealed.to_pem(label, LineEnding::LF).map_err(|_| KeyError::Making)?;
        Ok(pem.to_string())
    }

    /// For TLS.
    pub fn to_tls(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.0.serialize_der()).into()
    }

    /// Its public half, as a certificate has it.
    pub fn public(&self) -> Vec<u8> {
        self.0.subject_public_key_info()
    }

    pub(crate) fn pair(&self) -> &KeyPair {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", model::Digest::of(&self.public()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_what_it_was_also_behind_a_passphrase() {
        let key = Key::generate().unwrap();
        let read = Key::from_pem(&key.to_pem(), None).unwrap();
        assert_eq!(read.public(), key.public());
        let sealed = key.to_encrypted_pem("correct horse").unwrap();
        assert!(sealed.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
        assert_eq!(Key::from_pem(&sealed, None).unwrap_err(), KeyError::Encrypted);
        assert_eq!(Key::from_pem(&sealed, Some("wrong")).unwrap_err(), KeyError::Passphrase);
        assert_eq!(Key::from_pem(&sealed, Some("correct horse")).unwrap().public(), key.public());
    }

    #[test]
    fn what_is_no_key_of_ours_is_refused_and_no_key_is_printed() {
        for bad in ["", "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n", "garbage"] {
            assert!(
                matches!(Key::from_pem(bad, None), Err(KeyError::Syntax | KeyError::Kind)),
                "{bad}"
            );
        }
        let other = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
        assert_eq!(Key::from_pem(&other, None).unwrap_err(), KeyError::Kind);
        let key = Key::generate().unwrap();
        let shown = format!("{key:?}");
        assert!(shown.starts_with("Key(sha256:") && !shown.contains("PRIVATE"));
    }
}
