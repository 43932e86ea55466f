//! Owners, rights, flushing and renaming of files and folders: what Unix and Windows do differently.
//!
//! Windows has no mode: files in a user's profile folder inherit an access list that keeps other users out, and whether
//! a folder elsewhere does the same is not checked.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(crate) use unix::{
    FileState, allocated_bytes, create_folder, create_one_private_folder, create_private_folder, everybody_may_write,
    exclude_others, has_other_names, is_executable, is_full, is_ours, is_ours_or_roots, keep_private, kind,
    others_may_use, others_may_write, owner, private_file, program_file, real_path, rename_new, set_executable, state,
    symlink, sync_folder, without_following, without_waiting,
};
#[cfg(windows)]
pub(crate) use windows::{
    FileState, allocated_bytes, create_folder, create_one_private_folder, create_private_folder, everybody_may_write,
    exclude_others, has_other_names, is_executable, is_full, is_ours, is_ours_or_roots, keep_private, kind,
    others_may_use, others_may_write, owner, private_file, program_file, real_path, rename_new, set_executable, state,
    symlink, sync_folder, without_following, without_waiting,
};
