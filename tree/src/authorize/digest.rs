//! Identities of the `digest` scheme: a name and a hash of name and password (`DigestAuthenticationProvider`).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The hash of a digest identity. All servers and all stored ACLs must agree on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DigestAlgorithm {
    /// MD5; only for those who have such ACLs.
    Md5,
    /// SHA-1, what ZooKeeper does unless told otherwise.
    #[default]
    Sha1,
    /// SHA-224.
    Sha224,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
    /// SHA-512/224.
    Sha512Of224,
    /// SHA-512/256.
    Sha512Of256,
}

impl DigestAlgorithm {
    /// The algorithm that Java's `MessageDigest` finds for a name, as
    /// `zookeeper.DigestAuthenticationProvider.digestAlg` has it, in any case.
    pub fn from_name(name: &str) -> Option<DigestAlgorithm> {
        Some(match name.to_ascii_uppercase().as_str() {
            "MD5" => DigestAlgorithm::Md5,
            "SHA" | "SHA1" | "SHA-1" => DigestAlgorithm::Sha1,
            "SHA224" | "SHA-224" => DigestAlgorithm::Sha224,
            "SHA256" | "SHA-256" => DigestAlgorithm::Sha256,
            "SHA384" | "SHA-384" => DigestAlgorithm::Sha384,
            "SHA512" | "SHA-512" => DigestAlgorithm::Sha512,
            "SHA512/224" | "SHA-512/224" => DigestAlgorithm::Sha512Of224,
            "SHA512/256" | "SHA-512/256" => DigestAlgorithm::Sha512Of256,
            _ => return None,
        })
    }

    /// Length of the hash in bytes.
    pub fn digest_bytes(self) -> usize {
        match self {
            DigestAlgorithm::Md5 => 16,
            DigestAlgorithm::Sha1 => 20,
            DigestAlgorithm::Sha224 | DigestAlgorithm::Sha512Of224 => 28,
            DigestAlgorithm::Sha256 | DigestAlgorithm::Sha512Of256 => 32,
            DigestAlgorithm::Sha384 => 48,
            DigestAlgorithm::Sha512 => 64,
        }
    }

    /// The identity that `name:password` proves: `name:` and the hash of the whole in base64. Without a colon the
    /// whole is the name.
    pub fn identity(self, credentials: &str) -> String {
        let name = credentials.split(':').next().unwrap_or_default();
        format!("{name}:{}", STANDARD.encode(self.hash(credentials.as_bytes())))
    }

    fn hash(self, bytes: &[u8]) -> Vec<u8> {
        use sha2::Digest;
        match self {
            DigestAlgorithm::Md5 => md5::Md5::digest(bytes).to_vec(),
            DigestAlgorithm::Sha1 => sha1::Sha1::digest(bytes).to_vec(),
            DigestAlgorithm::Sha224 => sha2::Sha224::digest(bytes).to_vec(),
            DigestAlgorithm::Sha256 => sha2::Sha256::digest(bytes).to_vec(),
            DigestAlgorithm::Sha384 => sha2::Sha384::digest(bytes).to_vec(),
            DigestAlgorithm::Sha512 => sha2::Sha512::digest(bytes).to_vec(),
            DigestAlgorithm::Sha512Of224 => sha2::Sha512_224::digest(bytes).to_vec(),
            DigestAlgorithm::Sha512Of256 => sha2::Sha512_256::digest(bytes).to_vec(),
        }
    }
}

/// Whether an ACL may hold this identity: two parts around a colon, the second not empty. Java drops empty parts at
/// the end, so further colons at the end do no harm.
pub(super) fn is_valid(id: &str) -> bool {
    let trimmed = id.trim_end_matches(':');
    trimmed.split(':').count() == 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_those_that_zookeeper_makes() {
        assert_eq!(DigestAlgorithm::Sha1.identity("bob:pw"), "bob:ikIaKsbtGweaHnb/jKn7OHqbunM=");
        assert!(DigestAlgorithm::Sha1.identity("bobonly").starts_with("bobonly:"));
        assert!(DigestAlgorithm::Sha1.identity("a:b:c").starts_with("a:"));
        assert_eq!(DigestAlgorithm::Sha1.identity(""), ":2jmj7l5rSw0yVb/vlWAYkK/YBwk=");
        assert_eq!(DigestAlgorithm::Md5.identity("bob:pw").len(), "bob:".len() + 24);
        assert_eq!(DigestAlgorithm::Sha512.identity("bob:pw").len(), "bob:".len() + 88);
    }

    #[test]
    fn algorithms_are_known_by_their_java_names() {
        assert_eq!(DigestAlgorithm::from_name("sha-256"), Some(DigestAlgorithm::Sha256));
        assert_eq!(DigestAlgorithm::from_name("SHA1"), Some(DigestAlgorithm::Sha1));
        assert_eq!(DigestAlgorithm::from_name("CRC32"), None);
    }

    #[test]
    fn an_acl_names_exactly_a_user_and_a_hash() {
        for valid in ["bob:x", ":x", "bob:x:", "bob:x::"] {
            assert!(is_valid(valid), "{valid}");
        }
        for invalid in ["", "bob", "bob:", ":", "bob::x", "a:b:c", "::"] {
            assert!(!is_valid(invalid), "{invalid}");
        }
    }
}
