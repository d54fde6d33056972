//! Where the sockets of a user's processes are, for who serves one and who looks for one.
//!
//! A directory that nobody but the user may enter: `memfold` in `$XDG_RUNTIME_DIR`, or
//! `/tmp/memfold-UID` where there is no such variable. No lock; the file system says what is so.

use std::fs::{self, DirBuilder, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Why there is no directory for sockets.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlaceError {
    /// The system refuses.
    #[error("cannot use the directory {} for sockets: {source}", .path.display())]
    System {
        /// Which directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It belongs to somebody else, or others may enter it.
    #[error("the directory {} is not this user's alone (mode 0700): remove it, or set XDG_RUNTIME_DIR", .path.display())]
    Foreign {
        /// Which directory.
        path: PathBuf,
    },
}

/// The directory in which this user's processes have their sockets; made if it is not there.
///
/// # Errors
/// [`PlaceError`].
pub fn socket_directory() -> Result<PathBuf, PlaceError> {
    let user = user()?;
    let path = match std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from) {
        Some(runtime) if runtime.is_absolute() && runtime.is_dir() => runtime.join("memfold"),
        _ => PathBuf::from(format!("/tmp/memfold-{user}")),
    };
    make(&path, user)?;
    Ok(path)
}

/// The sockets in that directory, whoever still listens behind them, in the order of their names.
///
/// # Errors
/// [`PlaceError`].
pub fn own_sockets() -> Result<Vec<PathBuf>, PlaceError> {
    let path = socket_directory()?;
    let system = |source| PlaceError::System {
        path: path.clone(),
        source,
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(&path).map_err(system)? {
        let path = entry.map_err(system)?.path();
        if path.extension().is_some_and(|extension| extension == "sock") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The number of this process's user.
fn user() -> Result<u32, PlaceError> {
    let path = Path::new("/proc/self");
    let seen = fs::metadata(path).map_err(|source| PlaceError::System {
        path: path.to_owned(),
        source,
    })?;
    Ok(seen.uid())
}

/// Makes the directory, or looks at the one that is there.
fn make(path: &Path, user: u32) -> Result<(), PlaceError> {
    let system = |source| PlaceError::System {
        path: path.to_owned(),
        source,
    };
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(system(error)),
        _ => (),
    }
    let seen: Metadata = fs::symlink_metadata(path).map_err(system)?;
    if seen.is_dir() && seen.uid() == user && seen.mode().trailing_zeros() >= 6 {
        Ok(())
    } else {
        Err(PlaceError::Foreign {
            path: path.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    //! Goal: no directory is used that others may enter. Method: directories of each kind.
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn only_a_directory_of_ones_own_is_used() {
        let base = std::env::temp_dir().join(format!("memfold-place-{}", std::process::id()));
        fs::create_dir_all(&base).unwrap();
        let (path, user) = (base.join("own"), user().unwrap());
        make(&path, user).unwrap();
        make(&path, user).unwrap();
        assert!(matches!(make(&path, user + 1), Err(PlaceError::Foreign { .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o750)).unwrap();
        assert!(matches!(make(&path, user), Err(PlaceError::Foreign { .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        let link = base.join("link");
        symlink(&path, &link).unwrap();
        assert!(matches!(make(&link, user), Err(PlaceError::Foreign { .. })));
        assert!(matches!(
            make(&base.join("no/such"), user),
            Err(PlaceError::System { .. })
        ));
        fs::remove_dir_all(&base).unwrap();
    }
}
