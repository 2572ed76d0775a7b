"""The one place where rooms meet: artefacts opened, learners put together, stages carried out."""
