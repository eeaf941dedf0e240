"""From a manifest to a feature store: tasks for workers, what they staged, and one file packed of it."""
