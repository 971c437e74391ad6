//! What an I/O thread does in one turn of its loop.

use replica::pipeline::read::Source;
use replica::{ConnectionId, Delivery, Now};

use super::connection::{Connection, Work};
use super::office::Mail;
use super::{IO_THREADS, Item, Link, Server};
use crate::bugs::Bug;
use crate::oracle::Oracle;
use crate::random::Random;

impl Server {
    /// Accepts a link; it belongs to the thread of its place from now on.
    pub fn accept(&mut self, link: usize) {
        let free = self.places.iter().position(|place| place.connection.is_none());
        let place = free.unwrap_or(self.places.len());
        if place == self.places.len() {
            self.places.push(super::Place::default());
        }
        let id = ConnectionId::new(place as u32, self.places[place].generation);
        self.places[place].connection = Some(Connection::new(id, link));
    }

    /// One turn: some connections are read and answered, mail is taken in and sent, requests are handed over.
    pub fn io_turn(
        &mut self,
        thread: usize,
        links: &mut [Link],
        oracle: &mut Oracle,
        now: Now,
        random: &mut Random,
    ) {
        for place in (thread..self.places.len()).step_by(IO_THREADS) {
            let Some(connection) = &self.places[place].connection else { continue };
            let link = &links[connection.link];
            let readable = !link.to_server.is_empty() || connection.has_input() || link.client_closed;
            if readable && random.chance(2, 3) {
                self.serve(place, links, oracle, now, random);
            }
        }
        self.take_mail(thread);
        self.flush_thread(thread, links, random);
        self.hand_over(thread);
    }

    /// Reads one chunk, handles it, and sends the answers.
    fn serve(
        &mut self,
        place: usize,
        links: &mut [Link],
        oracle: &mut Oracle,
        now: Now,
        random: &mut Random,
    ) {
        let Some(connection) = &self.places[place].connection else { return };
        let link = &mut links[connection.link];
        if connection.must_pause() {
            return;
        }
        let most = if random.chance(1, 4) { random.between(1, 60) as usize } else { 8192 };
        let count = most.min(link.to_server.len());
        let fresh: Vec<u8> = link.to_server.drain(..count).collect();
        if fresh.is_empty() && link.client_closed {
            return self.close(place, links);
        }
        self.handle(place, &fresh, oracle, now);
        self.flush(place, links, random);
    }

    /// Takes the tree's lock, then the mail, and only then answers: whatever a read shows, the events of it stand
    /// before it.
    fn handle(&mut self, place: usize, fresh: &[u8], oracle: &mut Oracle, now: Now) {
        let thread = place % IO_THREADS;
        let shared = std::sync::Arc::clone(&self.shared);
        let tree = shared.tree();
        if self.bug != Some(Bug::MailAfterRead) {
            self.take_mail(thread);
        }
        let Some(mut connection) = self.places[place].connection.take() else { return };
        let source = Source { tree: &tree, watches: &shared.watches, rules: &shared.rules };
        let mut work = Work {
            source,
            outgoing: &mut self.outgoing[thread],
            oracle,
            now_ms: now.monotonic_ms,
            bug: self.bug,
        };
        connection.take_input(fresh, &mut work);
        self.places[place].connection = Some(connection);
    }

    /// Moves what the core left into the outboxes.
    fn take_mail(&mut self, thread: usize) {
        let Mail { bytes, deliveries } = std::mem::take(&mut self.office.mail[thread]);
        for delivery in deliveries {
            let Some(connection) = self.connection(delivery.connection()) else { continue };
            match delivery {
                Delivery::Bytes { range, completed, .. } => {
                    connection.outbox.extend_from_slice(&bytes[range]);
                    connection.completed(completed);
                }
                Delivery::Opened { session, heard_ms, .. } => connection.open(session, heard_ms),
                Delivery::Close { .. } => connection.close_when_sent(),
            }
        }
    }

    fn flush_thread(&mut self, thread: usize, links: &mut [Link], random: &mut Random) {
        for place in (thread..self.places.len()).step_by(IO_THREADS) {
            self.flush(place, links, random);
        }
    }

    /// Sends as much as the socket takes, then closes the connection if that is due.
    fn flush(&mut self, place: usize, links: &mut [Link], random: &mut Random) {
        let Some(connection) = &mut self.places[place].connection else { return };
        let link = &mut links[connection.link];
        let all = connection.outbox.len();
        let count = if random.chance(1, 10) { random.index(all + 1) } else { all };
        link.to_client.extend(connection.outbox.drain(..count));
        if connection.outbox.is_empty() && connection.is_closing() {
            self.close(place, links);
        }
    }

    fn close(&mut self, place: usize, links: &mut [Link]) {
        let Some(connection) = self.places[place].connection.take() else { return };
        if connection.introduced {
            self.outgoing[place % IO_THREADS].push(Item::Disconnected { connection: connection.id });
        }
        links[connection.link].server_closed = true;
        self.places[place].generation += 1;
    }

    fn hand_over(&mut self, thread: usize) {
        self.intake.append(&mut self.outgoing[thread]);
    }
}
