//! Whoever has a session: what the world lets happen to it, and asks of it.

use super::client::Client;
use super::network::{Arrival, ConnectionId};
use super::scene::Scene;
use crate::checkers::Verdict;
use crate::model::Model;
use crate::workload::Workload;

/// A client of whatever make.
pub trait Party {
    /// Its time to act. Turns that were planned before a later one are void.
    ///
    /// # Errors
    /// A promise that was not kept.
    fn on_turn(&mut self, scene: &mut Scene, workload: &Workload, turn: u64) -> Verdict;

    /// An attempt to connect has failed.
    fn on_dial_failed(&mut self, scene: &mut Scene, attempt: u64);

    /// An attempt has succeeded.
    fn on_connected(&mut self, scene: &mut Scene, connection: ConnectionId, attempt: u64);

    /// Something has come over a connection, or that is gone.
    ///
    /// # Errors
    /// A promise that was not kept.
    fn on_arrival(&mut self, scene: &mut Scene, connection: ConnectionId, arrival: Arrival) -> Verdict;

    /// From now on it only finishes what it has begun, then writes once more.
    fn calm_down(&mut self, scene: &mut Scene);

    /// Whether its last write was ordered and answered.
    fn is_done(&self) -> bool;

    /// In words, for a run that does not come to an end.
    fn describe(&self) -> String;

    /// What it was told, against what has happened, when everybody agrees about that.
    ///
    /// # Errors
    /// A promise that was not kept.
    fn judge(&self, model: &Model) -> Verdict;
}

impl Party for Client {
    fn on_turn(&mut self, scene: &mut Scene, workload: &Workload, turn: u64) -> Verdict {
        Client::on_turn(self, scene, workload, turn);
        Ok(())
    }

    fn on_dial_failed(&mut self, _: &mut Scene, _: u64) {
        Client::on_dial_failed(self);
    }

    fn on_connected(&mut self, scene: &mut Scene, connection: ConnectionId, _: u64) {
        Client::on_connected(self, scene, connection);
    }

    fn on_arrival(&mut self, scene: &mut Scene, connection: ConnectionId, arrival: Arrival) -> Verdict {
        Client::on_arrival(self, scene, connection, arrival)
    }

    fn calm_down(&mut self, scene: &mut Scene) {
        Client::calm_down(self, scene);
    }

    fn is_done(&self) -> bool {
        Client::is_done(self)
    }

    fn describe(&self) -> String {
        Client::describe(self)
    }

    fn judge(&self, _: &Model) -> Verdict {
        // Its replies were checked as they came.
        Ok(())
    }
}
