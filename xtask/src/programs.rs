//! Builds the test programs: C from `programs/`, and from crates that carry C
//! sources, compiled for WebAssembly into `target/programs/*.wasm`.
//!
//! The crates are unpacked by `cargo vendor` from `programs/sources`, whose
//! lock file pins their checksums. The compiler is clang 19 with the C library
//! for WASI; what is missing is installed with `apt-get`. A program is built
//! again only when its command line, the compiler or a file it is made of has
//! changed: a fingerprint of all three lies beside it. The output depends on
//! nothing else, so two machines with the same compiler get the same bytes.

use anyhow::{Context, Result, anyhow, bail};
use std::collections::hash_map::DefaultHasher;
use std::ffi::OsStr;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// The compiler, under the name that carries its version.
const CLANG: &str = "clang-19";
/// Debian's packages for all that a build needs.
const PACKAGES: [&str; 4] = ["clang-19", "lld-19", "wasi-libc", "libclang-rt-19-dev-wasm32"];

/// One program, and what it is made of.
struct Program {
    /// The output is `<name>.wasm`.
    name: &'static str,
    /// Our own C file, under `programs/`.
    main: &'static str,
    /// Folders of headers: `crate:` folders are below the unpacked crates,
    /// others below `programs/`.
    include: &'static [&'static str],
    /// C files of the unpacked crates.
    sources: &'static [&'static str],
    /// What else goes to the compiler, before the files.
    flags: &'static [&'static str],
}

/// Largest first: they are built by as many threads as there are processors.
const PROGRAMS: [Program; 5] = [SQLITE, QUICKJS, LUA, HELLO, TOUCH];

const SQLITE: Program = Program {
    name: "sqlite",
    main: "sqlite_main.c",
    include: &["crate:libsqlite3-sys-0.40.0/sqlite3"],
    sources: &[
        "libsqlite3-sys-0.40.0/sqlite3/sqlite3.c",
        "libsqlite3-sys-0.40.0/sqlite3/wasm32-wasi-vfs.c",
    ],
    flags: &[
        "-mexec-model=reactor",
        "-DSQLITE_OS_OTHER=1",
        "-DSQLITE_THREADSAFE=0",
        "-DSQLITE_TEMP_STORE=3",
        "-DSQLITE_OMIT_LOAD_EXTENSION",
        "-DLONGDOUBLE_TYPE=double",
        "-D_WASI_EMULATED_GETPID",
        "-D_WASI_EMULATED_MMAN",
        "-lwasi-emulated-getpid",
        "-lwasi-emulated-mman",
    ],
};

const QUICKJS: Program = Program {
    name: "quickjs",
    main: "quickjs_main.c",
    include: &["crate:rquickjs-sys-0.14.0/quickjs"],
    sources: &[
        "rquickjs-sys-0.14.0/quickjs/quickjs.c",
        "rquickjs-sys-0.14.0/quickjs/libregexp.c",
        "rquickjs-sys-0.14.0/quickjs/libunicode.c",
        "rquickjs-sys-0.14.0/quickjs/dtoa.c",
    ],
    // QuickJS knows no WASI, but its Emscripten leaves out the same things.
    flags: &[
        "-mexec-model=reactor",
        "-D_GNU_SOURCE",
        "-DEMSCRIPTEN=1",
        "-DFE_DOWNWARD=0",
        "-DFE_UPWARD=0",
    ],
};

const LUA: Program = Program {
    name: "lua",
    main: "lua_main.c",
    include: &["lua_wasi", "crate:lua-src-551.1.0/lua-5.4.9"],
    sources: &[
        "lua-src-551.1.0/lua-5.4.9/lapi.c",
        "lua-src-551.1.0/lua-5.4.9/lauxlib.c",
        "lua-src-551.1.0/lua-5.4.9/lbaselib.c",
        "lua-src-551.1.0/lua-5.4.9/lcode.c",
        "lua-src-551.1.0/lua-5.4.9/lctype.c",
        "lua-src-551.1.0/lua-5.4.9/ldebug.c",
        "lua-src-551.1.0/lua-5.4.9/ldo.c",
        "lua-src-551.1.0/lua-5.4.9/ldump.c",
        "lua-src-551.1.0/lua-5.4.9/lfunc.c",
        "lua-src-551.1.0/lua-5.4.9/lgc.c",
        "lua-src-551.1.0/lua-5.4.9/llex.c",
        "lua-src-551.1.0/lua-5.4.9/lmem.c",
        "lua-src-551.1.0/lua-5.4.9/lobject.c",
        "lua-src-551.1.0/lua-5.4.9/lopcodes.c",
        "lua-src-551.1.0/lua-5.4.9/lparser.c",
        "lua-src-551.1.0/lua-5.4.9/lstate.c",
        "lua-src-551.1.0/lua-5.4.9/lstring.c",
        "lua-src-551.1.0/lua-5.4.9/lstrlib.c",
        "lua-src-551.1.0/lua-5.4.9/ltable.c",
        "lua-src-551.1.0/lua-5.4.9/ltablib.c",
        "lua-src-551.1.0/lua-5.4.9/ltm.c",
        "lua-src-551.1.0/lua-5.4.9/lundump.c",
        "lua-src-551.1.0/lua-5.4.9/lvm.c",
        "lua-src-551.1.0/lua-5.4.9/lzio.c",
    ],
    flags: &["-mexec-model=reactor", "-include", "lua_wasi.h"],
};

const HELLO: Program = Program {
    name: "hello",
    main: "hello.c",
    include: &[],
    sources: &[],
    flags: &[],
};

const TOUCH: Program = Program {
    name: "touch",
    main: "touch.c",
    include: &[],
    sources: &[],
    flags: &[
        "-nostdlib",
        "-mbulk-memory",
        "-Wl,--no-entry",
        "-Wl,--initial-memory=67108864",
    ],
};

/// Builds the programs of these names (all, when there are none) that are not up to date into
/// `<root>/target/programs`, and prints a line for each.
///
/// # Errors
/// A message for people: a name is unknown, a tool is missing and cannot be installed, a source
/// cannot be fetched, or a program does not compile.
pub fn build(root: &Path, names: &[String]) -> Result<()> {
    let is_wanted = |program: &&Program| names.is_empty() || names.iter().any(|name| name == program.name);
    let wanted: Vec<&Program> = PROGRAMS.iter().filter(is_wanted).collect();
    let unknown = names
        .iter()
        .find(|&name| wanted.iter().all(|program| program.name != name));
    if let Some(name) = unknown {
        let all = PROGRAMS.map(|program| program.name).join(", ");
        bail!("there is no program `{name}`; there are {all}");
    }
    let out = root.join("target/programs");
    fs::create_dir_all(out.join("partial")).with_context(|| format!("cannot create {}", out.display()))?;
    let compiler = toolchain()?;
    let crates = unpack(root, &out)?;
    let job = Job {
        root,
        out: &out,
        crates: &crates,
        compiler: &compiler,
    };

    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(wanted.len());
    let work = || -> Result<()> {
        // Ends: every turn takes one of the few programs. Relaxed: only the number counts.
        while let Some(program) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
            job.build(program)?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| {
            thread
                .join()
                .unwrap_or_else(|_| Err(anyhow!("a builder panicked")))
        })
    })
}

/// Where one run of the builder reads and writes.
struct Job<'a> {
    root: &'a Path,
    out: &'a Path,
    crates: &'a Path,
    /// What the compiler says of itself.
    compiler: &'a str,
}

impl Job<'_> {
    /// Builds one program unless its fingerprint stands.
    fn build(&self, program: &Program) -> Result<()> {
        let wasm = self.out.join(program.name).with_extension("wasm");
        let stamp = self.out.join(program.name).with_extension("stamp");
        let fingerprint = self.fingerprint(program)?;
        if wasm.exists() && fs::read_to_string(&stamp).is_ok_and(|old| old == fingerprint) {
            println!("{:>8}: up to date", program.name);
            return Ok(());
        }

        let began = Instant::now();
        // Moved when complete: an interrupted build leaves no half file. Under
        // the same name, for the linker writes it into the module.
        let partial = self.out.join("partial").join(program.name).with_extension("wasm");
        run(
            self.command(program).arg("-o").arg(&partial),
            &format!("compiling {}", program.name),
        )?;
        fs::rename(&partial, &wasm).with_context(|| format!("cannot write {}", wasm.display()))?;
        fs::write(&stamp, fingerprint).with_context(|| format!("cannot write {}", stamp.display()))?;

        let kib = fs::metadata(&wasm).map_or(0, |data| data.len().div_ceil(1024));
        println!(
            "{:>8}: built in {:.1} s, {kib} KiB",
            program.name,
            began.elapsed().as_secs_f64()
        );
        Ok(())
    }

    /// The compiler's command line, but for the name of the output.
    fn command(&self, program: &Program) -> Command {
        let mut command = Command::new(CLANG);
        command.args(["--target=wasm32-wasi", "-O2", "-DNDEBUG", "-Wno-everything"]);
        // No path of this machine may reach the output.
        command.arg(format!("-ffile-prefix-map={}=.", self.root.display()));
        for folder in program.include {
            command.arg("-I").arg(self.folder(folder));
        }
        command.args(program.flags);
        command.arg(self.root.join("programs").join(program.main));
        command.args(program.sources.iter().map(|source| self.crates.join(source)));
        command
    }

    fn folder(&self, folder: &str) -> PathBuf {
        match folder.strip_prefix("crate:") {
            Some(below) => self.crates.join(below),
            None => self.root.join("programs").join(folder),
        }
    }

    /// A number that changes when anything does that the output depends on.
    fn fingerprint(&self, program: &Program) -> Result<String> {
        let mut files = vec![self.root.join("programs").join(program.main)];
        files.extend(program.sources.iter().map(|source| self.crates.join(source)));
        for folder in program.include {
            files.extend(headers(&self.folder(folder))?);
        }
        let mut hasher = DefaultHasher::new();
        self.compiler.hash(&mut hasher);
        self.command(program)
            .get_args()
            .for_each(|argument| argument.hash(&mut hasher));
        for file in files {
            fs::read(&file)
                .with_context(|| format!("cannot read {}", file.display()))?
                .hash(&mut hasher);
        }
        Ok(format!("{:016x}\n", hasher.finish()))
    }
}

/// The headers of a folder, in the order of their names.
fn headers(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension() == Some(OsStr::new("h")))
        .collect();
    files.sort();
    Ok(files)
}

/// Unpacks the crates of `programs/sources`, and gives the folder.
fn unpack(root: &Path, out: &Path) -> Result<PathBuf> {
    let folder = out.join("sources");
    let manifest = root.join("programs/sources/Cargo.toml");
    let stamp = out.join("sources.stamp");
    let lock_file = manifest.with_file_name("Cargo.lock");
    let lock =
        fs::read_to_string(&lock_file).with_context(|| format!("cannot read {}", lock_file.display()))?;
    if folder.exists() && fs::read_to_string(&stamp).is_ok_and(|old| old == lock) {
        return Ok(folder);
    }
    println!(" sources: fetching");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut vendor = Command::new(cargo);
    vendor
        .args([
            "vendor",
            "--quiet",
            "--locked",
            "--versioned-dirs",
            "--manifest-path",
        ])
        .arg(&manifest)
        .arg(&folder);
    vendor.stdout(std::process::Stdio::null());
    run(&mut vendor, "fetching the sources of the programs")?;
    fs::write(&stamp, lock).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(folder)
}

/// Sees that the compiler and its libraries are there; gives its version.
fn toolchain() -> Result<String> {
    if let Some(version) = compiler_version() {
        return Ok(version);
    }
    println!("  clang: installing {}", PACKAGES.join(" "));
    install(&PACKAGES).with_context(|| {
        format!(
            "the programs need these packages of Debian 12 or their like: {}",
            PACKAGES.join(" ")
        )
    })?;
    compiler_version()
        .with_context(|| format!("{CLANG} still does not compile for wasm32-wasi after installing it"))
}

/// The version of a compiler that can link a program for WASI, if there is one.
fn compiler_version() -> Option<String> {
    let answer = |arguments: &[&str]| {
        let output = Command::new(CLANG)
            .arg("--target=wasm32-wasi")
            .args(arguments)
            .output()
            .ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let exists = |path: String| Path::new(&path).is_absolute() && Path::new(&path).exists();
    let version = answer(&["--version"])?;
    let complete = exists(answer(&["--print-libgcc-file-name"])?)
        && exists(answer(&["--print-file-name=libc.a"])?)
        && Command::new("wasm-ld-19")
            .arg("--version")
            .output()
            .is_ok_and(|output| output.status.success());
    complete.then_some(version)
}

/// Installs the packages, with `sudo` when we are not root.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    let is_root = Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|output| output.stdout.trim_ascii() == b"0");
    let apt = |arguments: &[&str]| {
        let mut command = if is_root {
            Command::new("apt-get")
        } else {
            Command::new("sudo")
        };
        if !is_root {
            command.args(["--non-interactive", "apt-get"]);
        }
        command
            .arg("--quiet")
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive");
        run(&mut command, &format!("apt-get {}", arguments[0]))
    };
    apt(&["update"])?;
    let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
    arguments.extend(packages);
    apt(&arguments)
}

/// Runs a command; when it fails the message has the end of what it printed.
fn run(command: &mut Command, what: &str) -> Result<()> {
    let output = command
        .output()
        .with_context(|| format!("{what}: cannot run {:?}", command.get_program()))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<_> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(20)..];
    bail!("{what} failed ({}):\n{}", output.status, last.join("\n"))
}
