//! A file system of its own for a node, which root can mount.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::world::World;

/// A file system in a file, mounted where the node of a world has its directory.
pub(crate) struct Mounted(PathBuf);

impl Mounted {
    /// One that this command makes. `None`, and a word about it, where this account may not mount.
    pub(crate) fn over(world: &World, mkfs: &[&str]) -> Option<Mounted> {
        let image = world.path("image");
        fs::File::create(&image).unwrap().set_len(320 << 20).unwrap();
        let made = Command::new(mkfs[0]).args(&mkfs[1..]).arg(&image).output().unwrap();
        assert!(made.status.success(), "{mkfs:?}: {}", String::from_utf8_lossy(&made.stderr));
        Mounted::mount(world, mkfs[0], Command::new("mount").args(["-o", "loop"]).arg(&image))
    }

    /// One in memory.
    pub(crate) fn in_memory(world: &World) -> Option<Mounted> {
        Mounted::mount(world, "tmpfs", Command::new("mount").args(["-t", "tmpfs", "none"]))
    }

    fn mount(world: &World, what: &str, mount: &mut Command) -> Option<Mounted> {
        fs::create_dir(world.root()).unwrap();
        let mounted = mount.arg(world.root()).output().unwrap();
        if !mounted.status.success() {
            eprintln!("skipped {what}: {}", String::from_utf8_lossy(&mounted.stderr));
            return None;
        }
        let _ = fs::remove_dir(world.root().join("lost+found"));
        Some(Mounted(world.root()))
    }

    pub(crate) fn free(&self) -> u64 {
        let directory = fs::File::open(&self.0).unwrap();
        rustix::fs::syncfs(&directory).unwrap();
        let facts = rustix::fs::fstatvfs(&directory).unwrap();
        facts.f_bfree * facts.f_frsize
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily: the node that lives there goes after it.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
