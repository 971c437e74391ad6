//! How an instance's address is written.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::discovery::instance::Instance;

/// A pattern for addresses, `{scheme}://{address}:{port}` for example (Curator's `UriSpec`).
///
/// In braces stand `scheme` (`https` if the instance has a port for TLS, or else `http`), `name`, `id`, `address`, `port`,
/// `ssl-port`, `registration-time-utc`, `service-type`, and `[` and `]` for braces themselves. What an instance does not
/// have, and what is not known, is empty.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct UriSpec {
    /// Its parts, in order.
    pub parts: Vec<UriPart>,
}

/// A part of a [`UriSpec`].
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct UriPart {
    /// The text, or what stands in braces.
    pub value: String,
    /// Whether it stands in braces.
    pub variable: bool,
}

/// A pattern that is not understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("braces do not pair at character {0}")]
pub struct UriSpecError(pub usize);

impl FromStr for UriSpec {
    type Err = UriSpecError;

    fn from_str(pattern: &str) -> Result<UriSpec, UriSpecError> {
        let mut parts = Vec::new();
        let mut part = UriPart::default();
        for (at, character) in pattern.chars().enumerate() {
            match (character, part.variable) {
                ('{', false) | ('}', true) => {
                    let next = UriPart { value: String::new(), variable: !part.variable };
                    parts.push(std::mem::replace(&mut part, next));
                }
                ('{', true) | ('}', false) => return Err(UriSpecError(at)),
                _ => part.value.push(character),
            }
        }
        if part.variable {
            return Err(UriSpecError(pattern.chars().count()));
        }
        parts.push(part);
        for part in parts.iter_mut().filter(|part| part.variable) {
            part.value = part.value.trim().to_owned();
        }
        parts.retain(|part| !part.value.is_empty());
        Ok(UriSpec { parts })
    }
}

impl UriSpec {
    /// The address of an instance.
    pub fn build(&self, instance: &Instance) -> String {
        self.parts.iter().map(|part| part.build(instance)).collect()
    }
}

impl UriPart {
    fn build(&self, instance: &Instance) -> String {
        if !self.variable {
            return self.value.clone();
        }
        let port = |port: Option<u16>| port.map(|port| port.to_string()).unwrap_or_default();
        match self.value.as_str() {
            "scheme" => if instance.ssl_port.is_some() { "https" } else { "http" }.to_owned(),
            "name" => instance.name.clone(),
            "id" => instance.id.clone(),
            "address" => instance.address.clone().unwrap_or_default(),
            "port" => port(instance.port),
            "ssl-port" => port(instance.ssl_port),
            "registration-time-utc" => instance.registration_time_utc.to_string(),
            "service-type" => instance.service_type.map(|kind| kind.to_string()).unwrap_or_default(),
            "[" => "{".to_owned(),
            "]" => "}".to_owned(),
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::instance::ServiceType;

    fn build(pattern: &str, instance: &Instance) -> String {
        pattern.parse::<UriSpec>().unwrap().build(instance)
    }

    #[test]
    fn every_variable_is_filled_in() {
        let bare = Instance { registration_time_utc: 789, ..Instance::default() };
        let full = Instance { name: "foo".into(), ..bare.clone() }
            .id("bar")
            .address("1.2.3.4")
            .port(5)
            .ssl_port(6)
            .service_type(ServiceType::Permanent);
        let pattern =
            "{scheme}://{ address }:{port}:{ssl-port}/{name}/{id}/{registration-time-utc}/{service-type}";
        assert_eq!(build(pattern, &full), "https://1.2.3.4:5:6/foo/bar/789/permanent");
        assert_eq!(build(pattern, &bare), "http://::///789/dynamic");
        assert_eq!(build("a{[}b{]}c{unknown}{}", &bare), "a{b}c");
        assert_eq!(build("", &bare), "");
    }

    #[test]
    fn braces_that_do_not_pair_are_refused() {
        let error = |pattern: &str| pattern.parse::<UriSpec>().unwrap_err().0;
        assert_eq!(error("a{b{c}}"), 3);
        assert_eq!(error("a}b"), 1);
        assert_eq!(error("{port"), 5);
    }
}
