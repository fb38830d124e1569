"""How the database of a store came to be, one step a file; a step that was released is never changed."""
