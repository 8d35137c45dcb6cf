"""When each site is probed: slots (pure), the entries and their timetable (pure), beat's scheduler and its lease."""
