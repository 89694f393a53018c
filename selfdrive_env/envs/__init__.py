"""The environments: vector form, single form, and worlds that stay on a device."""
