//! `fettle why NAME`: gathers what a node says of it, and prints what follows from that.

use client::{ClientError, Node};
use futures_util::TryStreamExt as _;
use model::OperationId;
use wire::Code;
use wire::v1::{InstanceBody, OperationBody};

use crate::args::WhyArgs;
use crate::error::{Exit, Failure};
use crate::names::{self, Target};
use crate::reach::Context;
use crate::why::{self, Explanation};

/// `fettle why`
pub(crate) async fn why(context: &Context, args: &WhyArgs) -> Result<Exit, Failure> {
    let operation: Option<OperationId> = match args.name.contains('/') {
        true => None,
        false => Some(names::parse(&args.name)?),
    };
    let connection = context.node()?;
    let node = connection.node();
    let explanation = match operation {
        Some(id) => why::of_operation(&node.operation(id).await?),
        None => of_target(node, &names::parse_target(&args.name)?).await?,
    };
    context.output.value(&explanation, Explanation::text)?;
    Ok(Exit::Done)
}

async fn of_target(node: Node<'_>, target: &Target) -> Result<Explanation, ClientError> {
    let name = target.to_string();
    let explained = match target {
        Target::Instance(id) => match node.instance(id).await {
            Ok(body) => {
                let operations = operations(node, &name).await?;
                // It explains less without, and is no failure.
                let installation = node.installation(&id.installation).await.ok();
                Ok(why::of_instance(&body, installation.as_ref(), &operations))
            }
            Err(error) => Err(error),
        },
        Target::Installation(id) => match node.installation(id).await {
            Ok(body) => {
                let all: Vec<InstanceBody> = node.instances(None).await?.try_collect().await?;
                let of_it = all.into_iter().filter(|instance| instance.installation == *id);
                let instances: Vec<InstanceBody> = of_it.collect();
                Ok(why::of_installation(&body, &instances, &operations(node, &name).await?))
            }
            Err(error) => Err(error),
        },
    };
    match explained {
        Err(error) if error.code() == Code::NotFound => {
            why::of_nothing(&name, &operations(node, &name).await?).ok_or(error)
        }
        explained => explained,
    }
}

async fn operations(node: Node<'_>, name: &str) -> Result<Vec<OperationBody>, ClientError> {
    Ok(why::concerning(name, node.operations().await?.try_collect().await?))
}
