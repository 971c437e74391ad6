//! What a configuration comes to, in a few lines for a person (`ferrokeeper server --check`).

use super::ensemble::EnsembleSettings;
use super::settings::{ClientAddress, Settings};
use protocol::ServerId;
use protocol::peer::MemberRole;
use std::fmt::Write;

impl Settings {
    /// Who this server is, who the others are, ports, folders and time limits: one fact a line,
    /// each line ended.
    pub fn summary(&self) -> String {
        let mut text = String::new();
        match &self.ensemble {
            None => line(&mut text, "role", "a server alone"),
            Some(ensemble) => describe(&mut text, ensemble),
        }
        line(&mut text, "clients", &self.client_endpoint());
        let storage = &self.storage;
        line(&mut text, "snapshots", &storage.data_dir.join("version-2").display().to_string());
        line(&mut text, "log", &storage.data_log_dir.join("version-2").display().to_string());
        let sessions = &self.sessions;
        let range = format!("time out after {} to {} ms", sessions.timeout_min_ms, sessions.timeout_max_ms);
        line(&mut text, "sessions", &range);
        text
    }

    fn client_endpoint(&self) -> String {
        let port = match self.client_port.port {
            0 => "a port that the system chooses".to_owned(),
            port => format!("port {port}"),
        };
        let served = match &self.ensemble {
            Some(ensemble) if !ensemble.leader_serves_clients => ", but not while it leads",
            _ => "",
        };
        match self.client_port.address {
            ClientAddress::AllInterfaces => format!("all interfaces, {port}{served}"),
            ClientAddress::One(ip) => format!("{ip}, {port}{served}"),
        }
    }
}

fn line(text: &mut String, name: &str, value: &str) {
    let _ = writeln!(text, "{name:<10}{value}");
}

fn describe(text: &mut String, ensemble: &EnsembleSettings) {
    let EnsembleSettings { me, membership, role, .. } = ensemble;
    let count = membership.members.len();
    line(text, "role", &format!("{} {me} in an ensemble of {count}", role_name(*role)));
    let mut name = "members";
    for (id, member) in &membership.members {
        let this = if id == me { " (this server)" } else { "" };
        line(text, name, &format!("{id} {member}{this}"));
        name = "";
    }
    line(text, "decisions", &decisions(ensemble));
    if membership.version != 0 {
        line(text, "version", &format!("{:x}", membership.version));
    }
    if ensemble.reconfig_enabled {
        line(text, "changes", "members can be changed while the ensemble runs");
    }
    if let Some(proposed) = &ensemble.proposed {
        let numbers: Vec<String> = proposed.members.keys().map(ServerId::to_string).collect();
        line(text, "proposed", &format!("members {}, version {:x}", numbers.join(", "), proposed.version));
    }
    let own = membership.member(*me);
    for address in own.map_or(&[][..], |member| &member.addresses) {
        let host = if ensemble.listen_on_all_ips { "all interfaces" } else { &address.host };
        let ports =
            format!("{host}, port {} and {} for elections", address.quorum_port, address.election_port);
        line(text, "servers", &ports);
    }
    let ms = |ticks: u32| u64::from(ticks) * u64::from(ensemble.tick_ms);
    let times = format!("{} ms to join, {} ms of silence", ms(ensemble.init_limit), ms(ensemble.sync_limit));
    line(text, "limits", &times);
}

fn role_name(role: MemberRole) -> &'static str {
    match role {
        MemberRole::Participant => "participant",
        MemberRole::Observer => "observer",
    }
}

/// How many must agree.
fn decisions(ensemble: &EnsembleSettings) -> String {
    let membership = &ensemble.membership;
    if membership.is_hierarchical() {
        let weighs = |id: &ServerId| membership.weight_of(*id) > 0;
        let weighty = membership.groups.values().filter(|group| group.iter().any(weighs)).count();
        return format!("by most of the weight in {} of {weighty} groups", weighty / 2 + 1);
    }
    let voters = membership.voters().count();
    format!("by {} of {voters} participants", voters / 2 + 1)
}
