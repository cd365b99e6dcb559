//! What must hold after every step, whatever happened. Tests stop at a breach; production says so and goes on.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Course, Fleet, Slot, worker::Worker};

pub(crate) fn check(fleet: &Fleet) -> Result<(), &'static str> {
    fleet.breach.map_or(Ok(()), Err)?;
    ids_are_known(fleet)?;
    match fleet.course {
        Course::Idle => require(fleet.workers.is_empty(), "a worker exists before the start"),
        Course::Running | Course::Leaving { .. } => running_fleet_is_staffed(fleet),
        Course::Stopping { .. } | Course::Finished => stopping_fleet_only_leaves(fleet),
    }
}

fn require(holds: bool, promise: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(promise) }
}

fn ids_are_known(fleet: &Fleet) -> Result<(), &'static str> {
    for (&id, worker) in &fleet.workers {
        require(id <= fleet.newest_worker, "a worker's id was never minted")?;
        require(worker.generation <= fleet.newest_generation, "a worker is of a generation that never was")?;
    }
    Ok(())
}

fn running_fleet_is_staffed(fleet: &Fleet) -> Result<(), &'static str> {
    let mut crews = BTreeMap::<Slot, u32>::new();
    for worker in fleet.workers.values().filter(|worker| worker.is_active()) {
        *crews.entry(worker.slot).or_default() += 1;
        let current = worker.generation == fleet.serving.id || Some(worker.generation) == fleet.reloading();
        require(current || worker.is_serving(), "a worker starts for a generation that was given up")?;
    }
    stand_ins_are_needed(fleet)?;
    require(crews.values().all(|&crew| crew <= 2), "a slot holds more than two workers")?;
    let doubled = crews.values().filter(|&&crew| crew == 2).count();
    require(doubled <= fleet.largest_surge as usize, "more slots hold two workers than the surge allows")?;
    let forgotten = (1..=fleet.wanted).map(Slot).any(|slot| {
        !crews.contains_key(&slot) && fleet.slots.get(&slot).is_none_or(|record| record.wait.is_none())
    });
    require(!forgotten, "a wanted slot has neither a worker nor a time to get one")
}

/// Beyond the wanted slots only those serve that a wanted slot lacks.
fn stand_ins_are_needed(fleet: &Fleet) -> Result<(), &'static str> {
    let last = Slot(fleet.wanted);
    let beyond = |worker: &&Worker| worker.slot > last && worker.is_active();
    require(
        fleet.workers.values().filter(beyond).all(Worker::is_serving),
        "a worker starts in a slot that is not wanted",
    )?;
    let slots = |workers: &mut dyn Iterator<Item = &Worker>| {
        workers.map(|worker| worker.slot).collect::<BTreeSet<_>>().len()
    };
    let stand_ins = slots(&mut fleet.workers.values().filter(beyond));
    let staffed =
        slots(&mut fleet.workers.values().filter(|worker| worker.slot <= last && worker.is_serving()));
    require(
        stand_ins == 0 || stand_ins + staffed <= fleet.wanted as usize,
        "a slot is staffed that is not wanted",
    )
}

fn stopping_fleet_only_leaves(fleet: &Fleet) -> Result<(), &'static str> {
    require(fleet.reload.is_none(), "a reload goes on while the program stops")?;
    require(!fleet.workers.values().any(|worker| worker.is_active()), "a worker was not asked to leave")
}
