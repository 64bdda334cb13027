orrery campaign --recipe deepseek-v4
