//! One instance of a service, and its text.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::discovery::uri_spec::UriSpec;
use crate::requests::guid;

/// What Jackson calls the member that names a payload's Java class.
const CLASS: &str = "@class";

/// One process that offers a service (Curator's `ServiceInstance`).
///
/// Its text is the JSON that Curator's `JsonInstanceSerializer` writes: all members in Curator's order, with null for
/// what there is not. `enabled` is left out when it is true, as Curator leaves it out unless it is told otherwise,
/// because releases before 3.0 refuse it. In what others have written everything may be missing, and what is not known is
/// ignored.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[must_use = "this describes an instance; give it to Discovery::register"]
pub struct Instance {
    /// The service.
    pub name: String,
    /// What tells it from the other instances of the service. It is the name of the node, except for sequential ones.
    pub id: String,
    /// Where it is: a host's name or its IP address.
    pub address: Option<String>,
    /// Its port.
    pub port: Option<u16>,
    /// Its port for TLS.
    pub ssl_port: Option<u16>,
    /// Whatever else is to be known of it. Curator's readers expect a Java class in objects (`@class`), and see maps
    /// where there is none.
    pub payload: Option<Value>,
    /// When it was registered, in milliseconds since 1970.
    #[serde(rename = "registrationTimeUTC", deserialize_with = "null_is_zero")]
    pub registration_time_utc: i64,
    /// How long its node lives. `None` was written by somebody else.
    pub service_type: Option<ServiceType>,
    /// How its address is written.
    pub uri_spec: Option<UriSpec>,
    /// Whether it is to be used ([`Provider`](crate::Provider) does not, otherwise).
    #[serde(skip_serializing_if = "is_true")]
    pub enabled: bool,
}

/// How long an instance's node lives (Curator's `ServiceType`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ServiceType {
    /// As long as the session that has registered it: ephemeral.
    Dynamic,
    /// Until it is unregistered, or somebody removes it for its age, as Curator's discovery server does: persistent.
    Static,
    /// Until it is unregistered: persistent.
    Permanent,
    /// As a dynamic one, with a number behind the id. It is read, but cannot be registered here: ids serve.
    DynamicSequential,
}

/// What Curator reads where nothing is written.
impl Default for Instance {
    fn default() -> Instance {
        Instance {
            name: String::new(),
            id: String::new(),
            address: None,
            port: None,
            ssl_port: None,
            payload: None,
            registration_time_utc: 0,
            service_type: Some(ServiceType::Dynamic),
            uri_spec: None,
            enabled: true,
        }
    }
}

impl Instance {
    /// An instance of a service: dynamic, enabled, registered now, with a random id, and nowhere yet.
    pub fn new(service: &str) -> Instance {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let registration_time_utc = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        Instance { name: service.to_owned(), id: guid(), registration_time_utc, ..Instance::default() }
    }

    /// Another id: one that stays the same when the process starts again, say.
    pub fn id(self, id: &str) -> Instance {
        Instance { id: id.to_owned(), ..self }
    }

    /// Where it is.
    pub fn address(self, address: &str) -> Instance {
        Instance { address: Some(address.to_owned()), ..self }
    }

    /// Its port.
    pub fn port(self, port: u16) -> Instance {
        Instance { port: Some(port), ..self }
    }

    /// Its port for TLS.
    pub fn ssl_port(self, ssl_port: u16) -> Instance {
        Instance { ssl_port: Some(ssl_port), ..self }
    }

    /// Whatever else is to be known of it, as it is.
    pub fn payload(self, payload: Value) -> Instance {
        Instance { payload: Some(payload), ..self }
    }

    /// Likewise, as an object of a Java class, for readers that have this class.
    pub fn payload_of_class(self, class: &str, members: Map<String, Value>) -> Instance {
        let mut object = Map::new();
        object.insert(CLASS.to_owned(), class.into());
        object.extend(members);
        self.payload(object.into())
    }

    /// How long its node lives.
    pub fn service_type(self, service_type: ServiceType) -> Instance {
        Instance { service_type: Some(service_type), ..self }
    }

    /// How its address is written.
    pub fn uri_spec(self, uri_spec: UriSpec) -> Instance {
        Instance { uri_spec: Some(uri_spec), ..self }
    }

    /// Whether it is to be used.
    pub fn enabled(self, enabled: bool) -> Instance {
        Instance { enabled, ..self }
    }

    /// Its address as its [`UriSpec`] writes it, if it has one.
    pub fn uri(&self) -> Option<String> {
        self.uri_spec.as_ref().map(|spec| spec.build(self))
    }

    /// Reads an instance. Fails with what is wrong with the text.
    pub fn from_json(text: &[u8]) -> Result<Instance, serde_json::Error> {
        // By way of an object, of which the last one counts of two members of a name, as for Jackson; and a list is none.
        let object: Map<String, Value> = serde_json::from_slice(text)?;
        serde_json::from_value(object.into())
    }

    /// The text of an instance.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("names are text and numbers are finite")
    }
}

impl fmt::Display for ServiceType {
    /// As Curator's addresses write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ServiceType::Dynamic => "dynamic",
            ServiceType::Static => "static",
            ServiceType::Permanent => "permanent",
            ServiceType::DynamicSequential => "dynamic_sequential",
        })
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
fn is_true(flag: &bool) -> bool {
    *flag
}

/// As Java reads numbers that cannot be null.
fn null_is_zero<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn example() -> Instance {
        Instance { registration_time_utc: 1_700_000_000_123, ..Instance::new("mail") }
            .id("a-1")
            .address("10.0.0.7")
            .port(8004)
            .uri_spec("{scheme}://{address}:{port}".parse().unwrap())
    }

    #[test]
    fn the_text_is_the_one_that_curator_writes() {
        let members = json!({ "weight": 3 }).as_object().unwrap().clone();
        let text = r#"{"name":"mail","id":"a-1","address":"10.0.0.7","port":8004,"sslPort":null,
            "payload":{"@class":"org.example.Mail","weight":3},"registrationTimeUTC":1700000000123,
            "serviceType":"DYNAMIC","uriSpec":{"parts":[{"value":"scheme","variable":true},
            {"value":"://","variable":false},{"value":"address","variable":true},
            {"value":":","variable":false},{"value":"port","variable":true}]}}"#;
        let text: String = text.lines().map(str::trim).collect();
        let instance = example().payload_of_class("org.example.Mail", members);
        assert_eq!(String::from_utf8(instance.to_json()).unwrap(), text);
        assert_eq!(Instance::from_json(text.as_bytes()).unwrap(), instance);
    }

    #[test]
    fn enabled_is_written_only_when_it_is_not() {
        let text = String::from_utf8(Instance { uri_spec: None, ..example() }.enabled(false).to_json());
        assert!(text.as_ref().unwrap().ends_with(r#""uriSpec":null,"enabled":false}"#), "{text:?}");
        assert!(!Instance::from_json(text.unwrap().as_bytes()).unwrap().enabled);
    }

    #[test]
    fn everything_may_be_missing_or_null_and_what_is_unknown_is_ignored() {
        assert_eq!(Instance::from_json(b"{}").unwrap(), Instance::default());
        assert_eq!(Instance::from_json(br#"{"port":1,"port":2}"#).unwrap().port, Some(2));
        let nulls = br#"{"address":null,"port":null,"payload":null,"registrationTimeUTC":null,
            "serviceType":null,"uriSpec":null,"new":[1,{"a":2}]}"#;
        let expected = Instance { service_type: None, ..Instance::default() };
        assert_eq!(Instance::from_json(nulls).unwrap(), expected);
    }

    /// As Curator 5.9 wrote them.
    #[test]
    fn payloads_are_whatever_jackson_makes_of_them() {
        let payloads = [
            "null",
            "\"text\"",
            "7",
            "1.5",
            "true",
            "[\"java.lang.Long\",7]",
            "[\"java.util.Arrays$ArrayList\",[1,2]]",
            "{\"@class\":\"java.util.TreeMap\",\"k\":\"v\"}",
        ];
        for payload in payloads {
            let text = format!("{{\"payload\":{payload},\"enabled\":true}}");
            let read = Instance::from_json(text.as_bytes()).unwrap();
            assert_eq!(read.payload, serde_json::from_str(payload).unwrap(), "{payload}");
        }
    }

    #[test]
    fn what_curator_would_not_read_is_refused() {
        let malformed: [&[u8]; 7] = [
            b"",
            b"127.0.0.1:8080",
            b"[]",
            b"{\"port\":70000}",
            b"{\"serviceType\":\"SOMETIMES\"}",
            b"{\"name\":\"cut off",
            b"{} and more",
        ];
        for text in malformed {
            assert!(Instance::from_json(text).is_err(), "{}", String::from_utf8_lossy(text));
        }
    }
}
