//! What an application's prototype process prepares: options checked, component compiled.

use unit_app::Options;

use crate::configuration::Configuration;
use crate::image::Image;

/// The state that processes inherit from the prototype process by fork.
#[derive(Debug)]
pub(crate) struct Prototype {
    pub(crate) configuration: Configuration,
    pub(crate) options: Options,
    pub(crate) image: Image,
}

impl Prototype {
    /// Checks the configuration, and compiles the component.
    ///
    /// # Errors
    ///
    /// As one sentence for the log.
    pub(crate) fn new(mut configuration: Configuration) -> Result<Self, String> {
        let name = &configuration.name;
        let options = Options::take(&mut configuration.environment, configuration.timeout)
            .map_err(|error| format!("application {name:?}: {error}"))?;
        let memory = options.limits.memory;
        let image = Image::compile(&configuration.component, &configuration.isolation, memory)
            .map_err(|error| format!("application {name:?}: {error}"))?;
        Ok(Self {
            configuration,
            options,
            image,
        })
    }
}
