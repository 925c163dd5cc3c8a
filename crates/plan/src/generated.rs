//! What a pass needs and pure code cannot make.

/// Random values, made anew for every pass; used only where something is made for the first time.
#[derive(Clone)]
pub struct Generated {
    /// A password for the application's user.
    pub password: String,
    /// A password for the administrator.
    pub admin_password: String,
    /// Eight hex digits that name a set of credentials or a revision of one.
    pub id: String,
}

impl std::fmt::Debug for Generated {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Generated")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
