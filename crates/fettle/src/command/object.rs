//! `fettle object …`: the binary repository from outside.

use std::path::Path;
use std::sync::Arc;

use client::Progress;
use client::transfer::{Source, Upload, download, media_of, upload};
use futures_util::TryStreamExt as _;
use model::{Encoding, MediaInfo, MediaType, ObjectName};
use serde_json::json;
use wire::v1::ObjectLine;

use super::show;
use crate::args::ObjectCommand;
use crate::error::{Exit, Failure};
use crate::names;
use crate::progress::Shown;
use crate::reach::Context;
use crate::table::size;

/// `fettle object …`
pub(crate) async fn object(context: &Context, command: &ObjectCommand) -> Result<Exit, Failure> {
    match command {
        ObjectCommand::Upload { name, path, media_type, encoding } => {
            let stated = Stated {
                media_type: media_type.as_deref().map(names::parse).transpose()?,
                encoding: encoding.as_deref().map(Encoding::parse_stated).transpose()?,
            };
            send(context, names::parse(name)?, path, stated).await
        }
        ObjectCommand::Download { name, path } => fetch(context, &names::parse(name)?, path).await,
        ObjectCommand::Stat { name } => stat(context, &names::parse(name)?).await,
        ObjectCommand::List { glob } => list(context, glob.as_deref()).await,
        ObjectCommand::Delete { name } => delete(context, &names::parse(name)?).await,
    }
}

/// What the flags say of an object's bytes; an encoding may be stated to be none.
#[derive(Debug, Default)]
struct Stated {
    media_type: Option<MediaType>,
    encoding: Option<Option<Encoding>>,
}

impl Stated {
    /// What was stated wins over what the file says of itself. A stated type is the whole statement:
    /// without a stated encoding there is none, whatever the file is called.
    fn over(self, media: MediaInfo) -> MediaInfo {
        match (self.media_type, self.encoding) {
            (Some(media_type), encoding) => MediaInfo { media_type, encoding: encoding.flatten() },
            (None, Some(encoding)) => MediaInfo { encoding, ..media },
            (None, None) => media,
        }
    }
}

async fn send(
    context: &Context,
    name: ObjectName,
    path: &Path,
    stated: Stated,
) -> Result<Exit, Failure> {
    let (source, media) = match path == Path::new("-") {
        true => {
            let input = Source::Reader(path.to_owned(), Box::new(std::io::stdin()));
            (input, stated.over(MediaInfo::from_file_name("")))
        }
        false => (Source::at(path)?, stated.over(media_of(path)?)),
    };
    if matches!(source, Source::Directory(_)) && media != MediaInfo::packed_directory() {
        return Err(Failure::Usage {
            message: format!("{} is a directory: it is packed as a tar", path.display()),
            hint: "leave `--type` and `--encoding` away".to_owned(),
        });
    }
    let progress: Arc<dyn Progress> = Arc::new(Shown::new(context.output));
    let uploaded = upload(&context.server()?, Upload { name, source, media }, &progress).await?;
    context.output.value(&uploaded, |done| {
        format!("{}  {}, {} sent", done.name, size(done.size), size(done.sent))
    })?;
    Ok(Exit::Done)
}

async fn fetch(context: &Context, name: &ObjectName, path: &Path) -> Result<Exit, Failure> {
    let progress: Arc<dyn Progress> = Arc::new(Shown::new(context.output));
    let done = download(&context.server()?, name, path, &progress).await?;
    let value = json!({ "name": done.name, "digest": done.digest, "size": done.size });
    let human = |_: &_| format!("{}  {} to {}", done.name, size(done.size), path.display());
    context.output.value(&value, human)?;
    Ok(Exit::Done)
}

async fn stat(context: &Context, name: &ObjectName) -> Result<Exit, Failure> {
    let body = context.server()?.objects().stat(name).await?;
    context.output.value(&body, show::object)?;
    Ok(Exit::Done)
}

async fn list(context: &Context, glob: Option<&str>) -> Result<Exit, Failure> {
    let glob = names::parse_glob(glob)?;
    let lines = context.server()?.objects().list(glob.as_ref()).await?;
    let lines: Vec<ObjectLine> = lines.try_collect().await?;
    if lines.is_empty() {
        context.output.say("there are no such objects");
    }
    context.output.listing(&lines, show::objects)?;
    Ok(Exit::Done)
}

async fn delete(context: &Context, name: &ObjectName) -> Result<Exit, Failure> {
    context.server()?.objects().delete(name).await?;
    context.output.value(&json!({ "name": name }), |_| format!("{name}  deleted"))?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stated_type_is_the_whole_statement_and_none_is_an_encoding_too() {
        let media = MediaInfo::from_file_name("a.tar.gz");
        assert_eq!(Stated::default().over(media.clone()), media);
        let plain = Stated { encoding: Some(None), ..Stated::default() };
        assert_eq!(plain.over(media.clone()), MediaInfo::from_file_name("a.tar"));
        let zip = Stated { media_type: Some("application/zip".parse().unwrap()), encoding: None };
        assert_eq!(zip.over(media).encoding, None);
    }
}
