//! What all sandboxes of one application have in common. The application makes it once; a sandbox knows the
//! template and not the application.

use std::sync::Arc;

use outbound::Client;
use unit_log::ApplicationOutput;

use crate::budget::Budget;
use crate::sandbox::application_memory::ApplicationMemory;
use crate::sandbox::descriptors::{DescriptorBudget, Descriptors};
use crate::sandbox::directory::Folders;
use crate::settings::Settings;

/// The settings of an application, and what its sandboxes share because of them.
pub(crate) struct Template {
    pub(crate) settings: Settings,
    /// For outgoing requests: one pool of connections per application.
    pub(super) client: Client,
    /// Where guests' output goes.
    pub(super) output: Arc<ApplicationOutput>,
    pub(super) folders: Arc<Folders>,
    pub(crate) memory: Arc<ApplicationMemory>,
    pub(crate) descriptors: Arc<Descriptors>,
}

impl Template {
    /// Symbolic links in the paths of folders are resolved here, once.
    pub(crate) fn new(
        mut settings: Settings,
        memory: &Arc<Budget>,
        descriptors: &Arc<DescriptorBudget>,
    ) -> Arc<Self> {
        for directory in &mut settings.directories {
            directory.follow_links();
        }
        let weight = u64::from(settings.limits.weight.get());
        let descriptors = Descriptors::new(Arc::clone(descriptors), weight);
        let outbound = outbound::Options {
            budget: Some(Arc::<Descriptors>::clone(&descriptors)),
            ..outbound::Options::default()
        };
        Arc::new(Self {
            client: Client::with_options(settings.outbound.clone(), outbound),
            output: ApplicationOutput::new(
                &settings.name,
                settings.stdout.clone(),
                settings.stderr.clone(),
            ),
            folders: Arc::default(),
            memory: ApplicationMemory::new(Arc::clone(memory), weight),
            descriptors,
            settings,
        })
    }
}
