//! Changes of a membership as clients ask for them (the `reconfig` case of `PrepRequestProcessor.pRequest2Txn`).

use crate::ServerId;

use super::{Member, Membership, MembershipError};

/// Why a change makes no sense.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ChangeError {
    /// Members cannot join or leave one by one where groups decide: a whole membership must be given.
    #[error("groups decide here: give the whole membership instead of who joins and leaves")]
    Hierarchical,
    /// Something that leaves is no server number.
    #[error("{0:?} is no server number")]
    Leaving(String),
    /// Something that joins is not `server.N=...` as it has to be.
    #[error("{0:?} is not server.N=host:port:port[:role];[host:]port")]
    Joining(String),
    /// Who joins would be where another member is.
    #[error("server {joining} would have an address of server {other}")]
    Taken {
        /// Who joins.
        joining: ServerId,
        /// Who is there.
        other: ServerId,
    },
    /// The whole membership makes no sense.
    #[error(transparent)]
    Whole(#[from] MembershipError),
}

impl Membership {
    /// This membership without some members, and with others: `leaving` is a list of numbers, `joining` one of
    /// `server.N=...`, both separated by commas. Whoever joins takes the place of the member with the same number. The
    /// version stays as it is.
    ///
    /// # Errors
    /// What cannot be read, a newcomer without a client port, or an address that is taken.
    pub fn changed(&self, joining: Option<&str>, leaving: Option<&str>) -> Result<Membership, ChangeError> {
        if self.is_hierarchical() {
            return Err(ChangeError::Hierarchical);
        }
        let mut changed = self.clone();
        for number in items(leaving) {
            let number = number.parse().map_err(|_| ChangeError::Leaving(number.to_owned()))?;
            changed.members.remove(&ServerId::new(number));
        }
        for joiner in items(joining) {
            let (server, member) = newcomer(joiner).ok_or_else(|| ChangeError::Joining(joiner.to_owned()))?;
            let taken =
                changed.members.iter().find(|&(&id, other)| id != server && share_a_place(&member, other));
            if let Some((&other, _)) = taken {
                return Err(ChangeError::Taken { joining: server, other });
            }
            changed.members.insert(server, member);
        }
        Ok(changed)
    }

    /// A whole new membership, whose lines may also be separated by commas.
    ///
    /// # Errors
    /// A text that is no membership.
    pub fn replacement(text: &str) -> Result<Membership, ChangeError> {
        Ok(Membership::parse(&text.replace(',', "\n"))?)
    }
}

fn items(list: Option<&str>) -> impl Iterator<Item = &str> {
    list.unwrap_or_default().split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// Reads `server.N=...`. It must say where clients find it.
fn newcomer(text: &str) -> Option<(ServerId, Member)> {
    let (name, value) = text.split_once('=')?;
    let (_, number) = name.trim().rsplit_once('.')?;
    let server = ServerId::new(number.parse().ok().filter(|number| *number >= 0)?);
    let member = Member::parse(value).ok()?;
    (member.client.is_some() || member.secure_client.is_some()).then_some((server, member))
}

/// Whether two members would listen on the same port of the same host. Addresses that mean another host to everybody are
/// left alone, as in Java: whole ensembles run on one machine.
fn share_a_place(one: &Member, other: &Member) -> bool {
    let places = |member: &Member| -> Vec<(String, u16)> {
        let peers = member.addresses.iter().flat_map(|address| {
            [(address.host.clone(), address.quorum_port), (address.host.clone(), address.election_port)]
        });
        let client = member.client.iter().map(|client| (client.host.clone(), client.port));
        peers.chain(client).filter(|(host, _)| !is_relative(host)).collect()
    };
    let taken = places(other);
    places(one).iter().any(|place| taken.contains(place))
}

fn is_relative(host: &str) -> bool {
    let address = host.parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback() || address.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Membership {
        let line = |id: u16| format!("server.{id}=h{id}:2888:3888:participant;2181\n");
        Membership::parse(&(1..=3).map(line).collect::<String>()).unwrap()
    }

    fn numbers(membership: &Membership) -> Vec<i64> {
        membership.members.keys().map(|id| id.get()).collect()
    }

    #[test]
    fn members_leave_and_join_and_take_the_place_of_their_number() {
        let changed =
            three().changed(Some("server.5=h5:2888:3888;2181, server.2=h9:1:2:observer;3"), Some("1, 7"));
        let changed = changed.unwrap();
        assert_eq!(numbers(&changed), [2, 3, 5]);
        assert_eq!(changed.members[&ServerId::new(2)].to_string(), "h9:1:2:observer;0.0.0.0:3");
        assert_eq!(three().changed(None, Some("")), Ok(three()));
    }

    #[test]
    fn whoever_leaves_makes_room_for_whoever_joins() {
        assert_eq!(
            numbers(&three().changed(Some("server.4=h1:2888:3888;2181"), Some("1")).unwrap()),
            [2, 3, 4]
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused_and_named() {
        for (joining, what) in [
            ("server.4=h4:2888:3888", "server.4=h4"),
            ("server.4=h4:2888;2181", "server.4=h4"),
            ("4=h4:2888:3888;2181", "4=h4"),
            ("server.x=h4:2888:3888;2181", "server.x"),
            ("server.-4=h4:2888:3888;2181", "server.-4"),
            ("h4:2888:3888;2181", "h4"),
            ("server.4=h1:2888:3999;2181", "server 1"),
            ("server.4=h1:3888:3999;2181", "server 1"),
        ] {
            let error = three().changed(Some(joining), None).unwrap_err().to_string();
            assert!(error.contains(what), "{joining}: {error}");
        }
        assert_eq!(three().changed(None, Some("1,two")), Err(ChangeError::Leaving("two".to_owned())));
    }

    #[test]
    fn loopback_addresses_are_nobodys() {
        let local = Membership::parse("server.1=127.0.0.1:1:2;3\nserver.2=localhost:4:5;6\n").unwrap();
        assert_eq!(numbers(&local.changed(Some("server.3=127.0.0.1:1:5;3"), None).unwrap()), [1, 2, 3]);
    }

    #[test]
    fn a_whole_membership_may_be_written_with_commas_and_have_groups() {
        let text = "server.1=a:1:2;3,server.2=b:1:2;3,group.1=1:2";
        let whole = Membership::replacement(text).unwrap();
        assert!(whole.is_hierarchical());
        assert_eq!(whole.changed(None, Some("1")), Err(ChangeError::Hierarchical));
        assert!(Membership::replacement("server.1=nonsense").is_err());
        assert!(Membership::replacement("server.1=a:1:2;3,colour=blue").is_err());
    }
}
