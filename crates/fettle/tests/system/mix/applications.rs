//! What is published and installed in a mix: programs of every nature, each of which notices by itself when
//! it runs twice.

use std::path::PathBuf;

use crate::world::World;

/// A kind of program.
pub(super) struct Nature {
    pub(super) title: &'static str,
    /// What it does, after what all do.
    lines: fn(&Machine, u32) -> String,
    /// The tables of its manifest beside the program.
    tables: &'static str,
    has_packages: bool,
}

/// What the programs can rely on.
pub(super) struct Machine {
    /// Does what leaves its session and clears its environment end with its program?
    pub(super) ends_all: bool,
}

pub(super) const NATURES: &[Nature] = &[
    Nature { title: "mxsteady", lines: |_, _| SLEEP.into(), tables: "", has_packages: false },
    Nature {
        title: "mxstubborn",
        lines: |_, _| "trap '' TERM\nwhile :; do sleep 0.1; done\n".into(),
        tables: "[stop]\nwithin = \"300ms\"\n",
        has_packages: false,
    },
    Nature {
        title: "mxlitter",
        lines: |machine, _| {
            let hides = if machine.ends_all { "env -i /usr/bin/setsid" } else { "setsid" };
            format!("{hides} /bin/sh -c 'trap \"\" TERM; exec sleep 1000' &\n{SLEEP}")
        },
        tables: "[stop]\nwithin = \"200ms\"\n",
        has_packages: false,
    },
    Nature {
        title: "mxcrash",
        lines: |_, _| "sleep 0.05; exit 3\n".into(),
        tables: "[restart]\nlimit = 2\nwindow = \"60s\"\n",
        has_packages: false,
    },
    Nature { title: "mxonce", lines: |_, _| "exit 0\n".into(), tables: "", has_packages: false },
    Nature {
        title: "mxready",
        // Every other version lies.
        lines: |_, minor| match minor % 2 {
            0 => format!("rm -f ready; (sleep 0.1; touch ready) &\n{SLEEP}"),
            _ => format!("rm -f ready\n{SLEEP}"),
        },
        tables: "[ready]\ncommand = [\"/bin/sh\", \"-c\", \"test -e ready\"]\nevery = \"100ms\"\n\
                 within = \"500ms\"\n[restart]\nlimit = 1\n",
        has_packages: false,
    },
    Nature {
        title: "mxtrial",
        // Every other version does not stay.
        lines: |_, minor| match minor % 2 {
            0 => SLEEP.into(),
            _ => "sleep 0.3; exit 4\n".into(),
        },
        tables: "[update]\nprobation = \"700ms\"\n",
        has_packages: false,
    },
    Nature { title: "mxheavy", lines: |_, _| SLEEP.into(), tables: "", has_packages: true },
];

/// What a keeper looks after: restarted as often as it is killed.
pub(super) const KEPT: Nature = Nature {
    title: "mxkept",
    lines: |_, _| SLEEP.into(),
    tables: "[restart]\non = \"always\"\nlimit = 100000\nwindow = \"1s\"\n",
    has_packages: false,
};

/// Minor versions that there are of each application.
pub(super) const VERSIONS: u32 = 4;

impl Nature {
    /// Writes the manifest of a version, with everything that it names. `title` may be its own with a suffix.
    pub(super) fn manifest(
        &self,
        world: &World,
        machine: &Machine,
        title: &str,
        minor: u32,
    ) -> PathBuf {
        let lines = (self.lines)(machine, minor);
        let program =
            world.write(&format!("{title}-{minor}.sh"), format!("{HEAD}# 1.{minor}.0\n{lines}"));
        let mut packages = Vec::new();
        if self.has_packages {
            // Half of it is the same in all versions.
            for (name, seed) in [("same", 1), ("other", u64::from(minor) + 2)] {
                for file in 0..10 {
                    let path = format!("{title}-{minor}-{name}/dir{}/file{file}", file % 3);
                    world.write(&path, format!("{seed} {file}\n").repeat(500));
                }
                packages.push((name, world.path(&format!("{title}-{minor}-{name}"))));
            }
        }
        let packages: Vec<_> =
            packages.iter().map(|(name, path)| (*name, path.as_path())).collect();
        let name = format!("demo/{title}");
        let version = format!("1.{minor}.0");
        let manifest = world.manifest(&name, &version, &program, &[], &packages);
        let twice = twice(world);
        let tables = self.tables;
        let text = std::fs::read_to_string(&manifest).unwrap();
        world.write(
            manifest.file_name().unwrap().to_str().unwrap(),
            format!("{text}\n{tables}[env]\nTWICE = {twice:?}\n"),
        )
    }
}

/// Where programs say that they run while something of their instance's last run is still there.
pub(super) fn twice(world: &World) -> PathBuf {
    world.path("twice")
}

/// Everything that a program starts inherits the lock, and keeps it for as long as it lives.
const HEAD: &str = "#!/bin/sh
exec 9>>\"$FETTLE_WORKSPACE/alone\"
flock -n 9 || echo \"$FETTLE_INSTANCE process $$, version $FETTLE_VERSION\" >>\"$TWICE\"
echo \"begun $FETTLE_VERSION\"
";
const SLEEP: &str = "exec sleep 1000\n";
