//! An HTTP gateway that finds its services in a registry.
//!
//! `cargo run -p ferrokeeper-recipes --example service_gateway`
//!
//! Backends register where they listen; the gateway follows the registry, sends each request to the next backend, and leaves
//! out what does not answer: the registry tells who is gone when a session is over, and the gateway itself notices a backend
//! that has died before that.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use ferrokeeper_client::Client;
use ferrokeeper_recipes::{Discovery, DownPolicy, Instance, Provider, Registration, Strategy};

use crate::http::{Answer, HttpServer};
use crate::scenario::{Outcome, Place, ensure, play, soon};

#[path = "shared/http.rs"]
mod http;
#[path = "shared/scenario.rs"]
mod scenario;

const REGISTRY: &str = "/services";

/// How many backends are tried for one request.
const ATTEMPTS: usize = 3;

fn main() -> ExitCode {
    play("service_gateway", story)
}

async fn story(place: Place) -> Outcome {
    let gateway = Gateway::start(&place, "users").await?;
    let a = Backend::start(&place, "a").await?;
    let b = Backend::start(&place, "b").await?;
    let c = Backend::start(&place, "c").await?;
    gateway.until_known("a b c").await?;
    gateway.ask_and_expect(&[("a", 2), ("b", 2), ("c", 2)]).await?;

    println!("b says goodbye");
    b.registration.unregister().await?;
    gateway.until_known("a c").await?;
    gateway.ask_and_expect(&[("a", 2), ("c", 2)]).await?;

    println!("c dies; its session lives on for a while");
    drop(c.http);
    gateway.ask_and_expect(&[("a", 4)]).await?;
    println!("c's session ends");
    c.session.close().await?;
    gateway.until_known("a").await?;

    println!("a ends, too");
    a.session.close().await?;
    gateway.until_known("").await?;
    let (status, text) = gateway.ask().await?;
    println!("  {status} {text}");
    ensure(status == 503, "without backends the gateway must say so")?;
    let (status, _) = http::get("127.0.0.1", gateway.http.address.port(), "/unknown/").await?;
    ensure(status == 404, "a service that the gateway does not serve is not found")
}

/// A process that offers the service.
struct Backend {
    session: Client,
    http: HttpServer,
    registration: Registration,
}

impl Backend {
    async fn start(place: &Place, id: &'static str) -> Outcome<Backend> {
        let session = place.client().await?;
        // First it listens, and then it says so.
        let http = HttpServer::start(move |_path| async move { (200, id.to_owned()) }).await?;
        let instance = Instance::new("users")
            .id(id)
            .address("127.0.0.1")
            .port(http.address.port())
            .uri_spec("{scheme}://{address}:{port}".parse()?);
        println!("{id} serves at {}", instance.uri().unwrap_or_default());
        let registration = Discovery::new(&session, REGISTRY).register(instance).await?;
        Ok(Backend { session, http, registration })
    }
}

/// The gateway: `/users/list` is `/list` of any backend of `users`.
struct Gateway {
    http: HttpServer,
    users: Provider,
}

impl Gateway {
    async fn start(place: &Place, service: &'static str) -> Outcome<Gateway> {
        let client = place.client().await?;
        let provider = Discovery::new(&client, REGISTRY).provider(service, Strategy::RoundRobin).await?;
        let users = provider.with_down_policy(DownPolicy { failures: 1, ..DownPolicy::default() });
        let routes = Arc::new(BTreeMap::from([(service, users.clone())]));
        let http = HttpServer::start(move |path| {
            let routes = Arc::clone(&routes);
            async move { route(&routes, &path).await }
        })
        .await?;
        Ok(Gateway { http, users })
    }

    /// Waits until it knows these backends and no others.
    async fn until_known(&self, wanted: &str) -> Outcome {
        let mut instances = self.users.cache().watch();
        let is_so = instances.wait_for(|instances| {
            let ids: Vec<&str> = instances.readable.iter().map(|instance| instance.id.as_str()).collect();
            ids.join(" ") == wanted
        });
        drop(soon("the gateway to hear of it", is_so).await??);
        Ok(())
    }

    async fn ask(&self) -> Outcome<Answer> {
        Ok(http::get("127.0.0.1", self.http.address.port(), "/users/list").await?)
    }

    /// Asks as often as answers are expected of the backends, and counts them.
    async fn ask_and_expect(&self, wanted: &[(&str, usize)]) -> Outcome {
        let mut answers: BTreeMap<String, usize> = BTreeMap::new();
        for _ in 0..wanted.iter().map(|(_, count)| count).sum() {
            let (status, text) = self.ask().await?;
            ensure(status == 200, format!("every request must be answered, but: {status} {text}"))?;
            *answers.entry(text).or_default() += 1;
        }
        println!("  answers: {answers:?}");
        let wanted: BTreeMap<String, usize> =
            wanted.iter().map(|&(id, count)| (id.to_owned(), count)).collect();
        ensure(answers == wanted, format!("the answers must be {wanted:?}"))
    }
}

async fn route(routes: &BTreeMap<&str, Provider>, path: &str) -> Answer {
    let (service, rest) = path.trim_start_matches('/').split_once('/').unwrap_or((path, ""));
    let Some(provider) = routes.get(service) else { return (404, format!("there is no service {service}")) };
    for _ in 0..ATTEMPTS {
        let Some(instance) = provider.pick() else { break };
        let (Some(address), Some(port)) = (&instance.address, instance.port) else {
            provider.report_failure(&instance);
            continue;
        };
        match http::get(address, port, &format!("/{rest}")).await {
            Ok(answer) => return answer,
            // Another one may answer: a GET can be asked twice.
            Err(_) => provider.report_failure(&instance),
        }
    }
    (503, format!("nobody offers {service} now"))
}
