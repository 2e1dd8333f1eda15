//! Kills what runs, at random: the node manager, the server, the launcher, the programs.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::dice::Dice;
use super::field::Field;
use super::processes::{launchers, programs};

/// One kill, and whatever is needed so that it can go on.
pub(super) fn kill(field: &Field, dice: &mut Dice) {
    let root = field.world.read().unwrap().root();
    let pause = Duration::from_millis(dice.below(400));
    match dice.below(20) {
        0..6 => {
            field.count_kill("the node manager");
            field.world.write().unwrap().node_mut().kill();
            std::thread::sleep(pause);
            field.world.write().unwrap().start_node();
        }
        6 => {
            // Asked to end, and not killed.
            field.count_kill("the node manager, by SIGTERM");
            assert_eq!(field.world.write().unwrap().node_mut().terminate(), Some(0));
            std::thread::sleep(pause);
            field.world.write().unwrap().start_node();
        }
        7..10 => {
            field.count_kill("the server");
            field.world.write().unwrap().server_mut().kill();
            std::thread::sleep(pause);
            field.world.write().unwrap().start_server();
        }
        10 => {
            field.count_kill("the launcher");
            launchers(&root).iter().for_each(|launcher| end(launcher.pid));
        }
        11 => {
            field.count_kill("the node manager and the launcher");
            let mut world = field.world.write().unwrap();
            world.node_mut().kill();
            launchers(&root).iter().for_each(|launcher| end(launcher.pid));
            world.start_node();
        }
        _ => {
            let programs = programs(&root);
            if !programs.is_empty() {
                field.count_kill("a program");
                end(dice.one_of(&programs).pid);
            }
        }
    }
}

fn end(pid: u32) {
    let _ = kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL); // it may have ended
}
