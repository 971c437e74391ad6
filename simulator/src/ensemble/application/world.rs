//! One run with the product's client.

use std::cell::RefCell;
use std::rc::Rc;

use super::Application;
use super::bugs::Bug;
use super::figures::{ClientFigures, Tally};
use crate::checkers::Verdict;
use crate::ensemble::world::World;
use crate::seeds::Simulation;
use crate::trace::Trace;

/// The world of one seed: the ensemble that this seed means, and applications instead of its clients.
pub struct ClientWorld {
    world: World,
    tally: Rc<RefCell<Tally>>,
}

impl Simulation for ClientWorld {
    type Bug = Bug;
    type Figures = ClientFigures;

    fn new(seed: u64, bug: Option<Bug>, trace: Trace) -> ClientWorld {
        let tally = Rc::new(RefCell::new(Tally::default()));
        let world = World::with_clients(seed, None, trace, |name, random, servers, timeouts_ms| {
            Box::new(Application::new(name, random, servers, timeouts_ms, bug, Rc::clone(&tally)))
        });
        ClientWorld { world, tally }
    }

    fn run(&mut self) -> Verdict {
        self.world.run()
    }

    fn tally(&self) -> Tally {
        let mut tally = self.tally.borrow().clone();
        let beneath = self.world.tally();
        for (what, times) in beneath.faults() {
            tally.fault(what, times);
        }
        tally.figures.ensemble = beneath.figures;
        tally
    }
}
